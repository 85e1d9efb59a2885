"""What an embedding is made of: the fields that change its numbers, frozen, with a fingerprint.

Two vectors may be compared only where their fingerprints agree. Device, dtype and library
versions are provenance: they move numbers within a stated tolerance and do not divide archives.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal, get_args

from raptor_search.errors import SpecError

__all__ = ["PRESETS", "RECIPE_VERSION", "EmbeddingSpec", "Precision", "Recipe", "check_projection"]

RECIPE_VERSION = 1
"""Raised whenever the same spec would give other numbers."""

Precision = Literal["exact", "int8"]
"""How an encoder computes: "exact" is float32, or bfloat16 within its tolerance; "int8" rounds to eight bits."""

MAX_COMPONENTS = 4096
MAX_SEED = 2**32 - 1
"""The largest seed that NumPy's legacy generator takes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a volume becomes slices and tokens a vector; a preset without encoder, layer, K and seed.

    Attributes:
        preset: its name.
        intensity: "auto" (rule chosen from the voxels) or "published" (the script's rule by format).
        resample: "native" (stored voxels), "stretch" (each axis to the cube), or "fit" (aspect kept, padded).
        cube: side of the resampled cube in voxels; 0 where `resample` is "native".
        slices_per_plane: slices encoded along each plane; 0 means all.
        planes: "ras" (axial, coronal, sagittal) or "stored" (array axes 0, 1, 2).
        tokens: "patches" or "cls+patches".
        scale: entries of the Gaussian matrix: "1/K" is N(0, 1/K), "1" is N(0, 1).
    """

    preset: str
    intensity: Literal["auto", "published"]
    resample: Literal["native", "stretch", "fit"]
    cube: int
    slices_per_plane: int
    planes: Literal["ras", "stored"]
    tokens: Literal["patches", "cls+patches"]
    scale: Literal["1/K", "1"]


PRESETS: dict[str, Recipe] = {
    recipe.preset: recipe
    for recipe in (
        Recipe(
            preset="official",
            intensity="published",
            resample="native",
            cube=0,
            slices_per_plane=0,
            planes="stored",
            tokens="cls+patches",
            scale="1",
        ),
        Recipe(
            preset="paper",
            intensity="auto",
            resample="stretch",
            cube=256,
            slices_per_plane=0,
            planes="ras",
            tokens="patches",
            scale="1/K",
        ),
        Recipe(
            preset="full",
            intensity="auto",
            resample="fit",
            cube=224,
            slices_per_plane=0,
            planes="ras",
            tokens="patches",
            scale="1/K",
        ),
        Recipe(
            preset="default",
            intensity="auto",
            resample="fit",
            cube=224,
            slices_per_plane=32,
            planes="ras",
            tokens="patches",
            scale="1/K",
        ),
    )
}
"""The named recipes: what the published script does, what the paper says, and ours (`full`, `default`)."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """Everything that changes a vector's numbers.

    Attributes:
        encoder: name of the 2D model.
        layer: transformer block whose output is taken (then the final norm), or "last".
        weights_sha256: hash of the checkpoint file, hex.
        precision: "exact", or a lossy class by its own name: see `Precision`.
        recipe: slices, planes, intensity, tokens.
        grid: rows and columns of the encoder's token grid.
        components_drawn: K, columns of the Gaussian matrix as drawn.
        components_kept: leading components kept, at most `components_drawn`.
        seed: of NumPy's legacy generator.
        recipe_version: `RECIPE_VERSION` of the code that made it.

    Raises:
        SpecError: on construction, where a value is out of range.
    """

    encoder: str
    layer: str
    weights_sha256: str
    precision: Precision = "exact"
    recipe: Recipe = PRESETS["default"]
    grid: tuple[int, int]
    components_drawn: int = 100
    components_kept: int = 100
    seed: int = 0
    recipe_version: int = RECIPE_VERSION

    def __post_init__(self) -> None:
        check_projection(components=self.components_drawn, seed=self.seed)
        if self.precision not in get_args(Precision):
            raise SpecError(f"--precision {self.precision}: expected one of {', '.join(get_args(Precision))}")
        if not 1 <= self.components_kept <= self.components_drawn:
            raise SpecError(
                f"components kept {self.components_kept}: expected 1 to the {self.components_drawn} that are drawn"
            )

    @property
    def encoder_label(self) -> str:
        """The encoder as it is shown: with its precision where that is not exact."""
        return self.encoder if self.precision == "exact" else f"{self.encoder}, {self.precision}"

    @property
    def tokens_per_plane(self) -> int:
        """Tokens of one plane: the grid, and one more where CLS is kept."""
        rows, cols = self.grid
        return rows * cols + (self.recipe.tokens == "cls+patches")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one embedding: (plane, component, token)."""
        return (3, self.components_kept, self.tokens_per_plane)

    @property
    def length(self) -> int:
        """Numbers in one embedding."""
        planes, components, tokens = self.shape
        return planes * components * tokens

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, hex: equal where vectors may be compared."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def fields(self) -> dict[str, str | int]:
        """Every field that counts, flat, by the name used in messages."""
        flat: dict[str, str | int] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Recipe):
                # The preset's name is a label: two names for one recipe make one fingerprint.
                flat |= {k: v for k, v in dataclasses.asdict(value).items() if k != "preset"}
            elif field.name == "grid":
                flat["grid"] = f"{value[0]}x{value[1]}"
            else:
                flat[field.name] = value
        return flat

    def differences(self, other: "EmbeddingSpec") -> list[str]:
        """Names of the fields in which `other` differs, in the order of declaration."""
        mine, theirs = self.fields(), other.fields()
        return [name for name in mine if mine[name] != theirs[name]]

    def to_json(self) -> str:
        """Canonical JSON of `fields()`: sorted keys, no spaces."""
        return json.dumps(self.fields(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "EmbeddingSpec":
        """The spec that `to_json` wrote.

        Raises:
            SpecError: where the text is no spec, or one of a newer version of this program.
        """
        try:
            flat = json.loads(text)
            rows, cols = (int(n) for n in flat.pop("grid").split("x"))
            names = [f.name for f in dataclasses.fields(Recipe) if f.name != "preset"]
            settings = {name: flat.pop(name) for name in names}
            preset = next((p.preset for p in PRESETS.values() if _settings(p) == settings), "custom")
            return cls(recipe=Recipe(preset=preset, **settings), grid=(rows, cols), **flat)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"not an embedding spec of this version: {error}") from error


def check_projection(*, components: int | None, seed: int | None) -> None:
    """Refuse a K or a seed, where one was given, that no spec can have: known before any weights are looked for.

    Raises:
        SpecError: out of range.
    """
    if components is not None and not 1 <= components <= MAX_COMPONENTS:
        raise SpecError(f"--components {components}: expected 1 to {MAX_COMPONENTS}")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise SpecError(f"--seed {seed}: expected 0 to {MAX_SEED}")


def _settings(recipe: Recipe) -> dict[str, str | int]:
    return {k: v for k, v in dataclasses.asdict(recipe).items() if k != "preset"}
