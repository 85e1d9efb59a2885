"""open_clip's image towers: the tokens of its own forward, its tables as cards, and weights that are refused."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from raptor_search.encoders import encoder_card, load_encoder, spec_for
from raptor_search.encoders.open_clip import OpenClip, load_open_clip
from raptor_search.encoders.open_clip_cards import open_clip, open_clip_names
from raptor_search.errors import SpecError, UsageError, WeightsError
from tests.encoders.hub import point_hub_at

CPU = torch.device("cpu")
CLIP = "open_clip:ViT-B-32/openai"
SIGLIP = "open_clip:ViT-B-32-SigLIP2-256/webli"
CLIPA = "open_clip:ViT-L-14-CLIPA/datacomp1b"


def own_tower(name: str, *, quick_gelu: bool = False, seed: int = 0) -> Any:
    """open_clip's own image tower, drawn at random, none of its parameters at a neutral value."""
    package = open_clip(name)
    model = name.removeprefix("open_clip:").split("/")[0]
    config = package.get_model_config(model)
    text = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
    torch.manual_seed(seed)
    tower = (
        package.CLIP(config["embed_dim"], config["vision_cfg"], text, quick_gelu=quick_gelu)
        .visual.eval()
        .requires_grad_(False)
    )
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return tower


def checkpoint(tower: Any) -> dict[str, Tensor]:
    """The tower as open_clip's checkpoints hold it, beside tensors of a text tower."""
    tensors = {f"visual.{name}": tensor.clone() for name, tensor in tower.state_dict().items()}
    return tensors | {"token_embedding.weight": torch.zeros(3, 3), "logit_scale": torch.zeros(())}


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """ViT-B/32 with 3 of its 12 blocks, as open_clip's settings then say, so that its files are small."""
    package = open_clip(CLIP)
    settings = package.get_model_config

    def fewer(model: str) -> Any:
        config = settings(model)
        if config is not None and model.startswith("ViT-B-32") and "layers" in config["vision_cfg"]:
            config["vision_cfg"]["layers"] = 3
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "get_model_config", fewer)
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    tower = own_tower(CLIP, quick_gelu=True)
    path = tmp_path_factory.mktemp("clip") / "open_clip_model.safetensors"
    save_file(checkpoint(tower), path)
    return tower, path


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    tower = own_tower(SIGLIP)
    path = tmp_path_factory.mktemp("siglip") / "open_clip_pytorch_model.bin"
    torch.save({"epoch": 3, "state_dict": checkpoint(tower)}, path)
    return tower, path


def slices(n: int = 2) -> Tensor:
    return torch.rand(n, 224, 224, generator=torch.Generator().manual_seed(1))


def normalised(grey: Tensor, name: str) -> Tensor:
    """Colour images with the mean and standard deviation in open_clip's table."""
    model, tag = name.removeprefix("open_clip:").split("/")
    table = open_clip(name).get_pretrained_cfg(model, tag)
    mean, std = (torch.tensor(table[key])[:, None, None] for key in ("mean", "std"))
    return (grey[:, None] - mean) / std


def seen(module: torch.nn.Module, run: Any) -> Tensor:
    """What a module puts out while something runs."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda *call: outputs.append(call[-1]))
    with torch.no_grad():
        run()
    handle.remove()
    (output,) = outputs
    return output


def close(tokens: Tensor, expected: Tensor) -> bool:
    assert expected.std() > 0.1
    return torch.allclose(tokens, expected, atol=1e-5 * float(expected.abs().max()))


def test_clips_tokens_equal_its_own_forward_before_pooling(clip: tuple[Any, Path]) -> None:
    tower, path = clip
    images = normalised(slices(), CLIP)
    expected = seen(tower.ln_post, lambda: tower(images))
    tokens = load_encoder(CLIP, weights=path).encode(slices())
    assert tokens.shape == (2, 1 + 7 * 7, 768)
    assert close(tokens, expected)


def test_a_clip_layer_is_that_block_then_the_final_norm(clip: tuple[Any, Path]) -> None:
    tower, path = clip
    images = normalised(slices(), CLIP)
    expected = tower.ln_post(seen(tower.transformer.resblocks[1], lambda: tower(images)))
    encoder = load_encoder(CLIP, layer="2", weights=path)
    assert encoder.layer == "2"
    assert close(encoder.encode(slices()), expected)


def test_openais_weights_run_with_the_activation_they_were_trained_with(clip: tuple[Any, Path]) -> None:
    """The model's settings leave it out, the checkpoint's table says it: plain GELU would be another function."""
    _, path = clip
    expected = load_encoder("open_clip:ViT-B-32-quickgelu/openai", weights=path).encode(slices(1))
    other = load_encoder("open_clip:ViT-B-32/laion2b_s34b_b79k", weights=path).encode(slices(1))
    tokens = load_encoder(CLIP, weights=path).encode(slices(1))
    assert torch.equal(tokens, expected)
    assert not torch.allclose(tokens, other, atol=1e-3)


def test_siglips_tokens_equal_its_own_forward_at_its_own_image_size(siglip: tuple[Any, Path]) -> None:
    tower, path = siglip
    grey = np.stack(
        [np.asarray(Image.fromarray(s).resize((256, 256), Image.Resampling.BICUBIC)) for s in slices().numpy()]
    )
    images = normalised(torch.from_numpy(grey).clamp(0, 1), SIGLIP)
    with torch.inference_mode():
        expected = tower.trunk.forward_features(images)
    encoder = load_encoder(SIGLIP, weights=path)
    tokens = encoder.encode(slices())
    assert tokens.shape == (2, 8 * 8, 768)
    assert tokens.dtype == torch.float32
    assert close(tokens, expected)


def test_a_siglip_layer_is_that_block_then_the_final_norm(siglip: tuple[Any, Path]) -> None:
    tower, path = siglip
    encoder = load_encoder(SIGLIP, layer="2", weights=path)
    flat = torch.full((1, 224, 224), 0.25)
    images = normalised(torch.full((1, 256, 256), 0.25), SIGLIP)
    expected = tower.trunk.norm(seen(tower.trunk.blocks[1], lambda: tower(images)))
    assert close(encoder.encode(flat), expected)


def test_tokens_go_row_by_row(clip: tuple[Any, Path]) -> None:
    encoder = load_encoder(CLIP, layer="1", weights=clip[1])
    marked = torch.zeros(2, 224, 224)
    marked[0, 192:, :32] = 1
    tokens = encoder.encode(marked)
    change = (tokens[0] - tokens[1])[1:].norm(dim=-1).reshape(7, 7)
    assert change.argmax() == 6 * 7


def test_clipa_pools_before_its_norm_and_its_card_says_cls() -> None:
    card = encoder_card(CLIPA)
    assert (card.dim, card.layers, card.patch, card.grid, card.has_cls, card.image) == (
        1024,
        24,
        14,
        (16, 16),
        True,
        224,
    )
    assert card.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    "name",
    [
        CLIP,
        "open_clip:ViT-L-14-336/openai",
        SIGLIP,
        "open_clip:ViT-B-16-SigLIP/webli",
        "open_clip:ViT-L-16-SigLIP2-256/webli",
        "open_clip:ViT-SO400M-14-SigLIP-384/webli",
        "open_clip:ViT-gopt-16-SigLIP2-384/webli",
    ],
)
def test_a_card_tells_what_the_tower_is(name: str) -> None:
    card = encoder_card(name)
    with torch.device("meta"):
        tower = own_tower(name)
    if hasattr(tower, "trunk"):
        trunk = tower.trunk
        shape = (trunk.embed_dim, len(trunk.blocks), trunk.patch_embed.grid_size, trunk.num_prefix_tokens == 1)
    else:
        shape = (tower.conv1.out_channels, len(tower.transformer.resblocks), tower.grid_size, True)
    assert (card.dim, card.layers, card.grid, card.has_cls) == shape
    assert (card.image, card.image) == tower.image_size
    assert (card.revision, card.weights_sha256) == (None, None)
    assert card.source.count("/") == 1


def test_the_names_offered_all_have_cards_of_patch_grids() -> None:
    names = open_clip_names()
    assert {CLIP, SIGLIP, CLIPA, "open_clip:ViT-B-16/openai"} <= set(names)
    assert not any("RN50" in name or "coca" in name or "convnext" in name for name in names)
    for name in names:
        card = encoder_card(name)
        assert card.name == name
        assert min(card.grid) >= 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_clip:", "no pretrained model of no name; .* run `raptor encoders --open-clip`"),
        ("open_clip:ViT-Z/openai", "no pretrained model ViT-Z; expected a name such as open_clip:ViT-B-16/openai"),
        ("open_clip:hf-hub:some/model", "no pretrained model hf-hub:some"),
        ("open_clip:ViT-B-16", "expected open_clip:ViT-B-16/ and one of openai, laion400m_e31"),
        ("open_clip:ViT-B-16/best", "expected open_clip:ViT-B-16/ and one of openai, laion400m_e31"),
        ("open_clip:ViT-B-16/OpenAI", "expected open_clip:ViT-B-16/ and one of openai, laion400m_e31"),
        ("open_clip:RN50/openai", "its image tower is none of CLIP's or SigLIP's vision transformers"),
        ("open_clip:coca_ViT-B-32/laion2b_s13b_b90k", "its image tower is none of CLIP's or SigLIP's"),
        ("open_clip:convnext_base/laion400m_s13b_b51k", "its image tower is none of CLIP's or SigLIP's"),
    ],
)
def test_an_unknown_model_or_checkpoint_is_a_usage_error(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"--encoder {name}: .*{said}") as caught:
        encoder_card(name)
    assert "\n" not in caught.value.message


def test_a_layer_that_is_not_there_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="--layer 4: open_clip:ViT-B-32/openai has 3 blocks; expected 1 to 3 or last"):
        load_encoder(CLIP, layer="4", weights=Path("absent"))


def test_the_spec_holds_the_full_name_and_the_files_hash(clip: tuple[Any, Path], siglip: tuple[Any, Path]) -> None:
    encoder = load_encoder(CLIP, weights=clip[1].parent)
    spec = spec_for(encoder)
    assert (spec.encoder, spec.layer, spec.grid) == (CLIP, "last", (7, 7))
    assert spec.weights_sha256 == encoder.weights_sha256
    assert len(spec.weights_sha256) == 64
    with pytest.raises(SpecError, match=r"open_clip:ViT-B-32-SigLIP2-256/webli has no CLS token"):
        spec_for(load_encoder(SIGLIP, weights=siglip[1].parent), "official")


def test_tensors_saved_in_half_precision_and_from_several_gpus_load(clip: tuple[Any, Path], tmp_path: Path) -> None:
    path = tmp_path / "epoch_1.pt"
    torch.save({f"module.{name}": tensor.half() for name, tensor in checkpoint(clip[0]).items()}, path)
    tokens = load_encoder(CLIP, layer="1", weights=path).encode(slices(1))
    assert tokens.dtype == torch.float32
    exact = load_encoder(CLIP, layer="1", weights=clip[1]).encode(slices(1))
    assert torch.allclose(tokens, exact, atol=0.02 * float(exact.abs().max()))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda t: t.pop("visual.ln_post.bias"), "missing ln_post.bias"),
        (lambda t: t.update({"visual.extra": torch.zeros(1)}), "unexpected extra"),
        (lambda t: t.update({"visual.proj": torch.zeros(7)}), "mismatched proj"),
        (lambda t: t.clear(), "missing .* and [0-9]+ more"),
    ],
    ids=["missing", "unexpected", "shape", "no image tower"],
)
def test_weights_of_another_model_are_refused_by_tensor(
    clip: tuple[Any, Path], fault: Any, named: str, tmp_path: Path
) -> None:
    tensors = checkpoint(clip[0])
    fault(tensors)
    path = tmp_path / "other.bin"
    torch.save(tensors or {"other": torch.zeros(1)}, path)
    with pytest.raises(
        WeightsError, match=f"holds another model's weights: {named}.*; expected those of timm/"
    ) as caught:
        load_encoder(CLIP, weights=path)
    assert "\n" not in caught.value.message


def test_another_architecture_is_refused(clip: tuple[Any, Path]) -> None:
    with pytest.raises(WeightsError, match=r"another model's weights: missing .*trunk.* unexpected class_embedding"):
        load_encoder(SIGLIP, weights=clip[1])


def test_a_truncated_a_pickled_and_a_missing_file_are_refused(clip: tuple[Any, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(clip[1].read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"cut\.safetensors is truncated or no checkpoint"):
        load_encoder(CLIP, weights=cut)
    pickled = tmp_path / "pickled.pt"
    torch.save({"model": own_tower}, pickled)
    with pytest.raises(WeightsError, match=r"pickled\.pt holds more than tensors and was not run"):
        load_encoder(CLIP, weights=pickled)
    with pytest.raises(WeightsError, match=r"holds no open_clip_model\.safetensors or open_clip_pytorch_model\.bin"):
        load_encoder(CLIP, weights=tmp_path)


def test_weights_come_from_the_hub_then_from_its_cache(hub: Any, clip: tuple[Any, Path], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.bin"
    torch.save(checkpoint(clip[0]), path)
    hub.content = path.read_bytes()
    hub.absent = (".safetensors",)
    first = load_encoder(CLIP, layer="1")
    asked = [path for path in hub.asked if "/resolve/" in path]
    repository = "/timm/vit_base_patch32_clip_224.openai/resolve/main"
    assert asked[:2] == [f"{repository}/open_clip_model.safetensors", f"{repository}/open_clip_pytorch_model.bin"]
    hub.asked.clear()
    second = load_encoder(CLIP, layer="1")
    assert hub.asked == []
    assert first.weights_sha256 == second.weights_sha256


def test_a_hub_out_of_reach_is_one_line(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point_hub_at("http://127.0.0.1:9", monkeypatch)
    expected = f"^{CLIP}: its weights are not here and could not be downloaded \\(.+\\); give --weights FILE$"
    with pytest.raises(WeightsError, match=expected):
        load_encoder(CLIP)


def test_open_clip_that_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(
        WeightsError, match=r"open_clip is not installed: run `pip install 'raptor-search\[open-clip\]'`"
    ):
        load_encoder(CLIP)


def test_loading_prints_nothing(clip: tuple[Any, Path], capfd: pytest.CaptureFixture[str]) -> None:
    encoder = load_open_clip(encoder_card(CLIP), layer="1", weights=clip[1], device=CPU)
    assert isinstance(encoder, OpenClip)
    assert capfd.readouterr() == ("", "")
