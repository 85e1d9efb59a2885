"""What keeps an archive right: removing, erasing, verifying, backing up. `Archive` has these methods."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raptor_search.access import Action, Principal, account
from raptor_search.backups import BackupReport, back_up
from raptor_search.catalog import AuditRecord, Catalog
from raptor_search.erasure import Step, purge
from raptor_search.searching.selecting import Selection, select
from raptor_search.verifying import VerifyReport, verify

__all__ = ["EraseReport", "Upkeep", "account", "silent"]


@dataclass(frozen=True)
class EraseReport:
    """What an erasure did.

    Attributes:
        volumes: rows that are gone.
        duplicates: of those, the ones that were not asked for but have the same bytes.
        quarantined: sources whose quarantine went too.
    """

    volumes: int
    duplicates: int
    quarantined: int

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {"erased": self.volumes, "duplicates": self.duplicates, "quarantined": self.quarantined}


class Upkeep:
    """The part of an archive that changes or checks it as a whole.

    Attributes:
        home: its folder.
        catalog: what it knows.
        principal: who acts through it; what their role does not suffice for is refused.
    """

    home: Path
    catalog: Catalog
    principal: Principal

    def require(self, action: Action) -> None:
        """Refuse an action that the role of whoever acts does not suffice for.

        Raises:
            AccessError: then.
        """
        self.principal.require(action)

    @contextmanager
    def writing(self, progress: Step | None = None) -> Iterator[int]:
        """Be the only process that writes volumes and indexes; finishes an erasure that was cut short.

        Raises:
            LockedError: another process is; the message names it.
        """
        with self.catalog.writing() as epoch:
            purge(self.catalog, self.home, progress or silent)
            yield epoch

    def locator(self, volume_id: int) -> str:
        """Where a scan came from; it may name a patient.

        Raises:
            AccessError: the role does not suffice.
            UsageError: there is no such volume.
        """
        self.require("identify")
        self.audit("locate", f"volume {volume_id}")
        return self.catalog.locator(volume_id)

    def audit(self, action: str, detail: str, *, author: str | None = None) -> None:
        """Write into the audit log who did what; call it before a result is shown.

        Args:
            action: one word, such as "search" or "export".
            detail: what, without raw identifiers.
            author: who; None for whoever acts through this archive.
        """
        self.catalog.audit(author or self.principal.name, action, detail)

    def audits(self, limit: int = 100) -> list[AuditRecord]:
        """The latest rows of the audit log, the newest first.

        Raises:
            AccessError: the role does not suffice.
        """
        self.require("audit")
        return self.catalog.audits(limit)

    def remove(
        self,
        sources: Sequence[Path | str] = (),
        *,
        patient: str | None = None,
        where: str | None = None,
        ids: Sequence[int] = (),
        only_missing: bool = False,
        author: str | None = None,
    ) -> int:
        """Take scans out of the archive: they are found no longer. Indexing their sources brings them back.

        Args:
            sources: files and folders as they were indexed; or
            patient: the id as the files have it, or the pseudonym in a hit; or
            where: a filter, as `search` takes it; or
            ids: of the volumes. Exactly one of the four.
            only_missing: of the sources, or of all, only those whose file or folder is no longer there.
            author: who asks; None for whoever acts through this archive.

        Returns:
            How many scans are gone.

        Raises:
            AccessError: the role does not suffice.
            UsageError: nothing, or more than one way, says which scans, or the archive does not know one.
            QueryError: a filter that cannot be.
            LockedError: another process writes to the archive.
        """
        self.require("remove")
        with self.writing():
            chosen = select(self.catalog, sources, patient=patient, where=where, ids=ids, only_missing=only_missing)
            return self.catalog.remove(chosen.ids, sorted(chosen.source_keys), author=author or self.principal.name)

    def erase(
        self,
        sources: Sequence[Path | str] = (),
        *,
        patient: str | None = None,
        ids: Sequence[int] = (),
        even_absent: bool = False,
        author: str | None = None,
        progress: Step | None = None,
    ) -> EraseReport:
        """Erase scans: nothing of them stays in the archive's files, and they are not indexed again.

        Their rows go at once, and with them those of other sources with the same bytes. Then means and indexes
        are made without them, older index files and copies made before an upgrade are deleted, and the tables
        written anew. What was copied elsewhere, such as a backup, is not reached, nor is a database server's own
        log. A tombstone stays: a keyed hash that tells whether something was erased. In the audit log a number
        of a volume may stay.

        Args:
            sources: files and folders as they were indexed; or
            patient: the id as the files have it, or the pseudonym in a hit, of whom nothing is indexed again; or
            ids: of the volumes.
            even_absent: whether the patient may be one of whom the archive has no scan, to be kept out of it.
            author: who asks; None for whoever acts through this archive.
            progress: hears what is done.

        Raises:
            AccessError: the role does not suffice.
            UsageError: none or several are given, or the archive does not know a source or the patient.
            LockedError: another process writes to the archive.
            IndexFileError, CatalogError: the disk is full or the database busy. The scans are gone from every
                answer; run the command again, and what is left of them will be.
        """
        self.require("erase")
        hear = progress or silent
        with self.writing(hear):
            chosen = select(self.catalog, sources, patient=patient, ids=ids, even_absent=even_absent)
            done = self.catalog.erase(
                chosen.ids,
                author=author or self.principal.name,
                patient_keys=chosen.patient_keys,
                source_keys=chosen.source_keys,
            )
            purge(self.catalog, self.home, hear)
        return EraseReport(done.volumes, done.duplicates, len(chosen.source_keys))

    def meant(
        self,
        sources: Sequence[Path | str] = (),
        *,
        patient: str | None = None,
        where: str | None = None,
        ids: Sequence[int] = (),
        even_absent: bool = False,
        only_missing: bool = False,
    ) -> Selection:
        """What `remove` or `erase` would be about, so that it can be asked first.

        Raises:
            AccessError, UsageError, QueryError: as they do.
        """
        self.require("remove")
        return select(
            self.catalog,
            sources,
            patient=patient,
            where=where,
            ids=ids,
            even_absent=even_absent,
            only_missing=only_missing,
        )

    def verify(self, *, progress: Step | None = None) -> VerifyReport:
        """Check every row, reference and hash, and say what is wrong. Changes nothing; others may write meanwhile.

        Raises:
            CatalogError: the database cannot be read at all.
        """
        return verify(self.catalog, self.home, progress or silent)

    def backup(self, file: Path | str, *, progress: Step | None = None) -> BackupReport:
        """Write the archive, as of one moment, into one file. The key is not in it: keep a copy of that elsewhere.

        Raises:
            UsageError: the file is there already, lies within the archive, or cannot be written.
            CatalogError: the database failed, or what was written does not read back.
        """
        return back_up(self.catalog, self.home, Path(file).expanduser(), progress or silent)


def silent(what: str, done: int, total: int) -> None:
    """Hear nothing."""
