"""What was measured on an index version and is kept with it.

The settings of its search, the scores of unrelated scans, and the state of the archive that drift is told against.
"""

import json
from dataclasses import asdict, dataclass, field

import numpy as np
from jaxtyping import Float32

from raptor_search.catalog import IndexMeasures
from raptor_search.errors import CatalogError
from raptor_search.searching.tuning import Setting, Tuning

__all__ = ["Measures"]

DOCUMENT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The measures of an index version.

    Attributes:
        tuning: settings of its search.
        factory_given: whether the user chose the kind of index.
        trained_because: why mean and index were made anew when they were.
        measured_volumes: volumes that there were when drift was measured last, or the index was trained.
        measured_embedding: the largest embedding id of that moment.
        imbalance: of the lists, when trained.
        drift: what was measured then: "mean_shift", "imbalance", "recall"; empty after training.
        background: quantiles of the scores of unrelated pairs (`searching.background`); empty for too few pairs.
    """

    tuning: Tuning
    factory_given: bool
    trained_because: str
    measured_volumes: int
    measured_embedding: int
    imbalance: float
    drift: dict[str, float] = field(default_factory=dict)
    background: Float32[np.ndarray, " q"] = field(default_factory=lambda: np.empty(0, np.float32), compare=False)

    def to_stored(self) -> IndexMeasures:
        """As the catalog keeps them: all but the background as one JSON document."""
        fields = {name: value for name, value in asdict(self).items() if name != "background"}
        document = json.dumps({"version": DOCUMENT_VERSION} | fields, sort_keys=True)
        return IndexMeasures(document=document, background=self.background)

    @classmethod
    def from_stored(cls, stored: IndexMeasures) -> "Measures":
        """What `to_stored` gave.

        Raises:
            CatalogError: it is none of this version's: the index is to be built anew.
        """
        try:
            fields = json.loads(stored.document)
            if fields.pop("version") != DOCUMENT_VERSION:
                raise ValueError("another version")
            settings = tuple(Setting(**setting) for setting in fields.pop("tuning")["settings"])
            return cls(tuning=Tuning(settings), background=stored.background, **fields)
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(f"the measures of an index cannot be read ({error}): run `raptor rebuild`") from error
