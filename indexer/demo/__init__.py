"""The demo: an archive of scans derived from the real volumes that pinned packages carry."""

from indexer.demo.archive import DemoArchive, build_demo
from indexer.demo.plan import DemoScan
from indexer.demo.sources import SOURCES, DemoSource

__all__ = ["SOURCES", "DemoArchive", "DemoScan", "DemoSource", "build_demo"]
