"""Counts for people: by site, and when scans came."""

import numpy as np
from jaxtyping import Float64
from sqlalchemy import func, select

from raptor_search.catalog.database import Queries
from raptor_search.catalog.tables import VolumeRow

__all__ = ["TallyQueries"]


class TallyQueries(Queries):
    """Questions over all volumes, whatever they are embedded under."""

    def site_counts(self) -> dict[str | None, int]:
        """How many volumes each site has, by its keyed hash, the largest first; None where it is not known."""
        query = select(VolumeRow.site_key, func.count()).group_by(VolumeRow.site_key)
        with self._database.read() as session:
            rows = session.execute(query).all()
        return dict(sorted(((row[0], row[1]) for row in rows), key=lambda pair: (-pair[1], pair[0] or "")))

    def arrivals(self) -> Float64[np.ndarray, " n"]:
        """When each volume was added, in UTC seconds, the earliest first."""
        with self._database.read() as session:
            return np.array(list(session.scalars(select(VolumeRow.added_at).order_by(VolumeRow.added_at))), np.float64)
