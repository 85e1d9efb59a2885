"""A label of an archive evaluated: what `assessment` measures of its vectors, and of other methods' beside them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Real
from numpy.typing import NDArray

from raptor_search.archive import Archive
from raptor_search.catalog import Ids, StoredSpec, Value
from raptor_search.catalog.unmet import unmet
from raptor_search.errors import QueryError, UsageError
from raptor_search.filters import parse_where
from raptor_search.statistics.assessment import Evaluation, evaluate_classes, evaluate_numbers
from raptor_search.statistics.figures import RESAMPLES
from raptor_search.statistics.other_vectors import read_other_vectors
from raptor_search.statistics.protocol import METHODS, Method
from raptor_search.statistics.published import PUBLISHED, PublishedFigures, data_set_of
from raptor_search.statistics.splitting import is_split

__all__ = ["COLUMNS", "Assessment", "assess"]

OWN = "Raptor"

DEFAULT_SPLIT = "split"
"""The column that names the parts where a data set comes with them."""

COLUMNS = ("manufacturer", "model", "field_strength_t", "year", "sex", "age", "modality", "format", "spacing_s")
"""What neighbours may share beside the label; the site is asked about too."""

MAX_BYTES = 2 * 2**30
"""Vectors held at once; a larger set is judged by the first 10 components, a smaller Raptor in its own right."""

CUT_SHORT = ", first 10 components"
"""What the name of vectors says where they are."""

MAX_SCANS = 20_000
"""All their products are held: 3.2 GB."""

SHOWN_DIGITS = 12
"""Of a fingerprint, in the audit log."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """An evaluation, with what the archive knows of it.

    Attributes:
        evaluation: everything measured; its rows are positions in `ids`.
        ids: the volumes that could take part.
        spec: fingerprint of the vectors.
        data_set: the 3D MedMNIST set that all scans are of, or None.
        published: what the paper's table has on that set.
        notice: what every reader of this archive's results must know, or None.
    """

    evaluation: Evaluation
    ids: Ids
    spec: str
    data_set: str | None
    published: tuple[PublishedFigures, ...]
    notice: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; pairs of duplicates by volume id."""
        found = self.evaluation.to_dict()
        for pair in found["leaks"]["pairs"]:
            pair["first"], pair["second"] = (int(self.ids[pair[side]]) for side in ("first", "second"))
        published = [one.__dict__ for one in self.published]
        return found | {
            "spec": self.spec,
            "data_set": self.data_set,
            "published": published,
            "notice": self.notice,
        }


def assess(
    archive: Archive,
    label: str,
    *,
    as_number: bool = False,
    methods: Sequence[Method] = METHODS,
    compare: Mapping[str, Path] | None = None,
    compare_specs: Sequence[str] = (),
    where: str | None = None,
    split: str = DEFAULT_SPLIT,
    spec: str | None = None,
    with_curve: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
    author: str | None = None,
) -> Assessment:
    """Evaluate a label or column of an archive, by its given split where it has one; the audit log keeps that it was.

    Args:
        archive: that holds the scans.
        label: a label, or a column such as "sex".
        as_number: whether it is a number to be told, not a class.
        methods: that answer.
        compare: other methods' vectors of the same scans, files by name (see `other_vectors`).
        compare_specs: fingerprints of other specs of the archive; scans embedded under all of them take part.
        where: a filter on the scans that take part.
        split: the column that names train, val and test.
        spec: fingerprint, or its start, of a spec that is not the default.
        with_curve: whether the data-efficiency curve is drawn.
        resamples: bootstrap draws.
        seed: of folds and resamples.
        author: who asks; None for whoever acts through the archive.

    Raises:
        AccessError: the role does not suffice.
        QueryError: the label cannot be judged, no scan passes the filter or is embedded under all specs, or there is
            no such column or spec.
        UsageError: a file of other vectors that cannot be read, or lacks scans; a name of another method, or a spec,
            that is taken.
    """
    archive.require("evaluate")
    stored = archive.spec(spec)
    catalog = archive.catalog
    others = [archive.spec(one) for one in compare_specs]
    _check_names([OWN, *map(_spec_name, others)], compare or {})
    condition = parse_where(where) if where else None
    ids = catalog.ids(stored.id, condition)
    if not ids.size and condition is None:
        raise QueryError(f"the archive {archive.home} holds no scans yet: run `raptor index PATH`")
    if not ids.size and condition:
        reasons = unmet(catalog, stored.id, condition)
        raise QueryError("; ".join(["no scan passes the filter; expected at least a few: widen --where", *reasons]))
    labels = catalog.column_values(label, ids)
    known = np.array([value is not None for value in labels], bool)
    if known.sum() > MAX_SCANS:
        raise QueryError(f"label '{label}': {known.sum()} labelled scans; at most {MAX_SCANS} at once: narrow --where")
    absent = 0
    if known.any():
        is_there = _embedded_under(archive, ids, others, known)
        absent = int((known & ~is_there).sum())
        known &= is_there
        ids, labels = ids[known], [value for value, kept in zip(labels, known, strict=True) if kept]
    sources = [locator or "" for locator in catalog.locators(ids)]
    vectors: dict[str, Real[np.ndarray, "n _"]] = {}
    if known.any():
        vectors = dict([_vectors(archive, ids, stored, OWN)])
        for other in others:
            vectors |= dict([_vectors(archive, ids, other, _spec_name(other))])
        vectors |= {name: read_other_vectors(path, sources) for name, path in (compare or {}).items()}
    else:
        vectors[OWN] = np.zeros((len(labels), 1))
    patients = catalog.patient_keys(ids)
    # Only the default may be absent: a split asked for by name is never passed over in silence.
    has_split = split != DEFAULT_SPLIT or split in catalog.columns()
    splits = catalog.column_values(split, ids) if has_split else None
    if splits is not None and split != DEFAULT_SPLIT and not is_split(splits):
        raise QueryError(f"column '{split}' names no training and test scans; expected values train, val and test")
    if as_number:
        evaluation = evaluate_numbers(
            vectors, labels, patients, splits=splits, name=label, methods=methods, resamples=resamples, seed=seed
        )
    else:
        evaluation = evaluate_classes(
            vectors,
            labels,
            patients,
            splits=splits,
            columns=_columns(archive, ids, label),
            name=label,
            methods=methods,
            with_curve=with_curve,
            resamples=resamples,
            seed=seed,
        )
    accepted = [record.volume_id for record in catalog.labels(label) if record.origin == "accepted"]
    evaluation = _with_origins(evaluation, int(np.isin(ids, accepted).sum()))
    if absent:
        note = f"{absent} scans are not embedded under every spec that is compared, and take no part"
        evaluation = dataclasses.replace(evaluation, notes=(*evaluation.notes, note))
    manner = "filtered" if where else "unfiltered"
    about = f"{label}, {evaluation.scans} scans of {evaluation.subjects} subjects, {manner}"
    catalog.audit(author or archive.principal.name, "evaluation", f"{about}, spec {stored.fingerprint[:SHOWN_DIGITS]}")
    data_set = data_set_of(sources)
    return Assessment(
        evaluation=evaluation,
        ids=ids,
        spec=stored.fingerprint,
        data_set=data_set,
        published=PUBLISHED.get(data_set or "", ()),
        notice=archive.notice,
    )


def _spec_name(stored: StoredSpec) -> str:
    """What the vectors of a compared spec are called."""
    return f"{stored.spec.encoder} {stored.fingerprint[:SHOWN_DIGITS]}"


def _check_names(specs: Sequence[str], methods: Collection[str]) -> None:
    """Each name stands for one set of vectors, or the figures of one would be shown as those of another."""
    for n, name in enumerate(specs):
        if name in specs[:n]:
            raise UsageError(f"the spec {name} is compared twice; expected each once")
    taken = {name + ending for name in specs for ending in ("", CUT_SHORT)}
    for name in methods:
        if name in taken:
            raise UsageError(f"{name!r} is the name of the archive's own vectors; give the other method's another name")


def _embedded_under(
    archive: Archive, ids: Ids, specs: Sequence[StoredSpec], asked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which scans have an embedding under every spec."""
    found = np.ones(len(ids), bool)
    for stored in specs:
        found &= np.isin(ids, archive.catalog.ids(stored.id))
        if not (found & asked).any():
            raise QueryError(
                f"no labelled scan is embedded under spec {stored.fingerprint[:SHOWN_DIGITS]} too; "
                "embed them with `raptor index --add-spec`"
            )
    return found


def _vectors(archive: Archive, ids: Ids, stored: StoredSpec, name: str) -> tuple[str, Float16[np.ndarray, "n length"]]:
    """A spec's vectors under a name that says where they are cut short."""
    if ids.size * stored.spec.length * 2 <= MAX_BYTES:
        return name, archive.catalog.vectors(ids, stored.id)
    return name + CUT_SHORT, archive.catalog.prefixes(ids, stored.id)


def _with_origins(evaluation: Evaluation, accepted: int) -> Evaluation:
    """A value that nearness proposed says too much of how well nearness tells it."""
    if not accepted:
        return evaluation
    note = f"{accepted} values of '{evaluation.label}' were accepted from proposals: figures are too good for it"
    return dataclasses.replace(evaluation, notes=(*evaluation.notes, note))


def _columns(archive: Archive, ids: Ids, label: str) -> dict[str, list[Value | None]]:
    known = archive.catalog.columns()
    found = {name: archive.catalog.column_values(name, ids) for name in COLUMNS if name in known and name != label}
    found["site"] = [record.site_key for record in archive.catalog.volumes(ids)]
    return found
