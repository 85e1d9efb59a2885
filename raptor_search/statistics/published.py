"""Published figures on the 3D MedMNIST sets, to be read beside what is measured here.

Source: An et al. 2025, "Raptor", ICML (arXiv 2507.08254), Table 3: AUROC (one-vs-rest mean) and accuracy, logistic
regression on the embedding, official splits, DINOv2-L. Retrieval: masih4/MedImageRetrieval, supplement; its mAP
divides by the hits within the first five.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PUBLISHED", "RETRIEVAL", "PublishedFigures", "data_set_of"]

DATA_SETS = ("organ", "nodule", "fracture", "adrenal", "vessel", "synapse")


@dataclass(frozen=True)
class PublishedFigures:
    """What a method scored on one set, as printed."""

    method: str
    auroc: float
    accuracy: float


_TABLE = {
    "ResNet": ((0.995, 0.918), (0.886, 0.860), (0.759, 0.487), (0.869, 0.835), (0.932, 0.915), (0.889, 0.853)),
    "MAE": ((0.982, 0.800), (0.820, 0.828), (0.600, 0.481), (0.710, 0.752), (0.607, 0.880), (0.560, 0.737)),
    "MISFM": ((0.989, 0.833), (0.886, 0.855), (0.689, 0.537), (0.868, 0.665), (0.932, 0.894), (0.918, 0.307)),
    "SuPreM": ((0.999, 0.968), (0.891, 0.848), (0.645, 0.492), (0.906, 0.869), (0.964, 0.929), (0.907, 0.879)),
    "SLIViT": ((0.997, 0.946), (0.920, 0.868), (0.656, 0.475), (0.846, 0.789), (0.710, 0.880), (0.541, 0.270)),
    "VoCo": ((0.992, 0.870), (0.797, 0.836), (0.699, 0.535), (0.913, 0.872), (0.799, 0.880), (0.844, 0.830)),
    "Merlin": ((0.976, 0.766), (0.809, 0.861), (0.691, 0.549), (0.836, 0.801), (0.870, 0.879), (0.833, 0.825)),
    "Raptor-B": ((0.998, 0.958), (0.904, 0.858), (0.647, 0.501), (0.930, 0.858), (0.945, 0.919), (0.922, 0.894)),
    "Raptor": ((0.999, 0.961), (0.929, 0.870), (0.677, 0.502), (0.926, 0.845), (0.966, 0.922), (0.943, 0.911)),
}

PUBLISHED = {
    f"{name}mnist3d": tuple(PublishedFigures(method, *figures[place]) for method, figures in _TABLE.items())
    for place, name in enumerate(DATA_SETS)
}
"""Classification, by the name of the set's file without size and ending."""

RETRIEVAL = {"adrenalmnist3d": (0.7998, 0.7517), "synapsemnist3d": (0.8040, 0.7557)}
"""mAP@5 by hits, and P@1 (ACC@1)."""


def data_set_of(names: Iterable[str]) -> str | None:
    """The set that all files are of, by their names ("organmnist3d_64.npz#train_0"), or None."""
    found = {_set_of(name) for name in names}
    return found.pop() if len(found) == 1 else None


def _set_of(name: str) -> str | None:
    file = name.partition("#")[0].replace("\\", "/").rpartition("/")[2].lower()
    stem = file.removesuffix(".npz").partition("_")[0]
    return stem if file.endswith(".npz") and stem in PUBLISHED else None
