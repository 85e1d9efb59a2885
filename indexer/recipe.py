"""Which embedding a run makes: the options given, the archive's own spec for the rest, never a mix of two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from raptor_search.archive import Archive
from raptor_search.encoders import Dtype, Encoder, encoder_card, load_encoder, spec_for
from raptor_search.errors import SpecError, UsageError
from raptor_search.readers import Source
from raptor_search.specs import PRESETS, EmbeddingSpec, Precision, check_projection

__all__ = ["DEFAULT_ENCODER", "Options", "refuse_without_rule", "resolve", "with_weights"]

DEFAULT_ENCODER = "dinov2-large"
"""The paper's encoder."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for; None takes the archive's value, or in a new archive the paper's.

    Attributes:
        encoder: a name of `raptor_search.encoders.ENCODERS`, or `open_clip:MODEL/PRETRAINED`.
        layer: block number, or "last".
        weights: a local checkpoint instead of the pinned one.
        preset: a name of `raptor_search.specs.PRESETS`.
        precision: "exact", or a lossy class of `raptor_search.specs.Precision`.
        components: K.
        seed: of the Gaussian matrix.
        keep_tokens: whether an archive keeps the mean tokens too, from which other K and seeds follow.
        devices: where torch runs, a process for each where there are several; "auto" is a GPU where there is one.
            Provenance, not part of the spec.
        dtype: what a transformer computes in there; None takes what suits the device. Provenance too.

    Raises:
        UsageError: on construction, for a name that does not exist.
        SpecError: on construction, for a K or seed out of range.
        WeightsError: on construction, for an encoder of open_clip where that cannot be imported.
    """

    encoder: str | None = None
    layer: str | None = None
    weights: Path | None = None
    preset: str | None = None
    precision: str | None = None
    components: int | None = None
    seed: int | None = None
    keep_tokens: bool = False
    devices: tuple[str, ...] = ("auto",)
    dtype: str | None = None

    def __post_init__(self) -> None:
        if not self.devices or not all(self.devices):
            raise UsageError("--devices: expected names parted by commas, such as cuda:0,cuda:1")
        check_projection(components=self.components, seed=self.seed)
        if self.encoder is not None:
            encoder_card(self.encoder)
        _known("--preset", self.preset, list(PRESETS))
        _known("--precision", self.precision, list(get_args(Precision)))
        _known("--dtype", self.dtype, list(get_args(Dtype)))

    @property
    def computes_in(self) -> Dtype | None:
        """`dtype`, which was found to be one."""
        return cast(Dtype | None, self.dtype)

    def load(self, like: EmbeddingSpec | None = None) -> tuple[Encoder, EmbeddingSpec]:
        """The encoder and the spec that these options mean, taking from `like` what they leave open.

        Raises:
            WeightsError: where the weights cannot be had.
            SpecError: where a value is out of range.
        """
        name = self.encoder or (like.encoder if like else DEFAULT_ENCODER)
        same_encoder = like is not None and like.encoder == name
        layer = self.layer or (like.layer if like and same_encoder else None)
        precision = cast(Precision, self.precision or (like.precision if like and same_encoder else "exact"))
        recipe = PRESETS[self.preset] if self.preset else (like.recipe if like else PRESETS["default"])
        components = self.components if self.components is not None else (like.components_drawn if like else 100)
        seed = self.seed if self.seed is not None else (like.seed if like else 0)
        # Several devices have processes of their own, which load it there: here only its spec is wanted.
        device = self.devices[0] if len(self.devices) == 1 else "cpu"
        encoder = load_encoder(
            name,
            layer=layer,
            weights=self.weights,
            device=device,
            dtype=self.computes_in,
            precision=precision,
        )
        return encoder, spec_for(encoder, recipe, components=components, seed=seed)


def with_weights(archive: Archive, options: Options) -> Options:
    """These options, with the checkpoint that the archive has used for their encoder where they name none."""
    stored = archive.catalog.default_spec()
    if options.weights is not None or stored is None:
        return options
    name = options.encoder or stored.spec.encoder
    used = (archive.weights(one) for one in archive.catalog.specs() if one.spec.encoder == name)
    return replace(options, weights=next((path for path in used if path is not None), None))


def resolve(archive: Archive, options: Options, *, add_spec: bool) -> tuple[Encoder, EmbeddingSpec]:
    """The encoder and spec of a run on this archive.

    Raises:
        SpecError: where the options differ from the archive's specs and `add_spec` was not asked for;
            the message names every field that differs.
    """
    stored = archive.catalog.default_spec()
    home_spec = stored.spec if stored else None
    if home_spec is not None and not add_spec and options.encoder not in (None, home_spec.encoder):
        others = {s.spec.encoder for s in archive.catalog.specs()}
        if options.encoder not in others:  # said before the other encoder's weights are looked for
            raise _mismatch(archive, home_spec, {"encoder": (home_spec.encoder, str(options.encoder))})
    encoder, spec = options.load(like=home_spec)
    known = {s.spec.fingerprint for s in archive.catalog.specs()}
    if home_spec is not None and not add_spec and spec.fingerprint not in known:
        mine, asked = home_spec.fields(), spec.fields()
        raise _mismatch(archive, home_spec, {n: (str(mine[n]), str(asked[n])) for n in home_spec.differences(spec)})
    return encoder, spec


def refuse_without_rule(spec: EmbeddingSpec, sources: Sequence[Source]) -> None:
    """Say before an hour of work that the published script has a rule for NIfTI and npz alone.

    Raises:
        SpecError: where the spec follows the script and a source is DICOM or NRRD.
    """
    without = [s for s in sources if s.format in ("dicom", "nrrd", "mha")]
    if spec.recipe.intensity == "published" and without:
        raise SpecError(
            f"preset official has no rule for {without[0].format.upper()} ({len(without)} such volumes, first "
            f"{without[0].uri}): give NIfTI or npz alone, or choose `--preset full`"
        )


def _mismatch(archive: Archive, spec: EmbeddingSpec, fields: dict[str, tuple[str, str]]) -> SpecError:
    differing = "; ".join(f"{name} is {mine}, asked {asked}" for name, (mine, asked) in fields.items())
    return SpecError(
        f"{archive.home} holds embeddings of another spec ({spec.fingerprint[:12]}): {differing}. "
        "Leave the option out, add `--add-spec` to embed the archive under a second spec, or give another `--home`"
    )


def _known(option: str, value: str | None, names: list[str]) -> None:
    if value is not None and value not in names:
        raise UsageError(f"{option} {value}: expected one of {', '.join(names)}")
