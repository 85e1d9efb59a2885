"""From files to scans: discover what is there, read it into RAS+ volumes, join the tables beside it.

The only package that knows pydicom, nibabel and pynrrd.
"""

from raptor_search.readers.discovery import discover
from raptor_search.readers.geometry import Geometry
from raptor_search.readers.reading import content_digest, read, read_file
from raptor_search.readers.scan import READER_VERSION, Identity, Scan, ScanMetadata
from raptor_search.readers.source import Refused, Skipped, Source
from raptor_search.readers.tables import Table, annotate, find_participants, participants_below, read_table

__all__ = [
    "READER_VERSION",
    "Geometry",
    "Identity",
    "Refused",
    "Scan",
    "ScanMetadata",
    "Skipped",
    "Source",
    "Table",
    "annotate",
    "content_digest",
    "discover",
    "find_participants",
    "participants_below",
    "read",
    "read_file",
    "read_table",
]
