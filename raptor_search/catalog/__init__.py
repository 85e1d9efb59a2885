"""The catalog: tables and queries of an archive, the only code that knows the database.

`Catalog.open` gives one object; what goes in and comes out are the frozen values of `records` and `published`.
"""

from raptor_search.catalog.cohorts import MapDetail, StoredGraph
from raptor_search.catalog.erasing import ErasedRows
from raptor_search.catalog.labels import as_number
from raptor_search.catalog.locks import writer_lock
from raptor_search.catalog.measures import Moment
from raptor_search.catalog.opening import Catalog
from raptor_search.catalog.proposals import NewProposal, StoredProposal
from raptor_search.catalog.published import (
    Centring,
    Generation,
    IndexMeasures,
    IndexVersion,
    NewIndexVersion,
    StoredMap,
)
from raptor_search.catalog.records import (
    TYPED_COLUMNS,
    AuditRecord,
    ColumnType,
    Ids,
    KnownSource,
    LabelOrigin,
    LabelRecord,
    NewVolume,
    Problem,
    QuarantineRecord,
    StoredSpec,
    Value,
    VolumeRecord,
)
from raptor_search.catalog.schema import upgrade
from raptor_search.catalog.vectors import PREFIX_COMPONENTS

__all__ = [
    "PREFIX_COMPONENTS",
    "TYPED_COLUMNS",
    "AuditRecord",
    "Catalog",
    "Centring",
    "ColumnType",
    "ErasedRows",
    "Generation",
    "Ids",
    "IndexMeasures",
    "IndexVersion",
    "KnownSource",
    "LabelOrigin",
    "LabelRecord",
    "MapDetail",
    "Moment",
    "NewIndexVersion",
    "NewProposal",
    "NewVolume",
    "Problem",
    "QuarantineRecord",
    "StoredGraph",
    "StoredMap",
    "StoredProposal",
    "StoredSpec",
    "Value",
    "VolumeRecord",
    "as_number",
    "upgrade",
    "writer_lock",
]
