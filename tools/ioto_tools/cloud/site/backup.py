"""Moves, backs up and restores sites: copies the site in one folder to another folder (copying.py).

The databases and images may be elsewhere. The target must be new or empty. Until the copy is complete, the target is
marked (copy_mark.py), so that the same command can resume the copy.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import CloudError
from ..storage import audit, counters
from ..storage.tables import metadata
from . import copy_mark, copying
from .attention import BACKED_UP
from .site import Site


def migrate(data: str | Path, to: str | Path, progress: copying.Progress) -> copying.Copied:
    """Copy the site in folder `data` to folder `to`; CloudError if the site changes meanwhile."""
    with closing(Site(data)) as source, _open_target(source, to) as target:
        copied = copying.copy(source, target, progress)
        copying.unchanged(source, copied)
        copy_mark.remove(target.data)
    return copied


def backup(data: str | Path, to: str | Path, progress: copying.Progress) -> copying.Copied:
    """Back up a snapshot of the site in folder `data` to folder `to`."""
    with closing(Site(data)) as source, _open_target(source, to) as target:
        copied = copying.copy(source, target, progress)
        copy_mark.write(target.data, {"of": _source_name(source), "whole": True, "at_s": source.now_s()})
        source.database.write(_record_backup, source.now_s(), source.who)
    return copied


def _record_backup(conn: sa.Connection, now_s: int, who: str) -> None:
    counters.put(conn, BACKED_UP, now_s)
    audit.note(conn, now_s, who, "site.backed_up", "site")


def restore(backup: str | Path, data: str | Path, progress: copying.Progress) -> copying.Copied:
    """Restore the backup in folder `backup` to folder `data`."""
    marked = copy_mark.read(Path(backup))
    if marked is None or not marked["whole"]:
        raise CloudError(
            "%s is not a complete backup: run `ioto cloud backup`; if that was interrupted, run the same command again"
            % backup
        )
    with closing(Site(backup, copied=True)) as source, _open_target(source, data) as target:
        copied = copying.copy(source, target, progress)
        target.database.write(_record_restore, marked["at_s"], target.now_s())
        copy_mark.remove(target.data)
    return copied


def _record_restore(conn: sa.Connection, backup_s: int, now_s: int) -> None:
    """Record that the site was restored from a backup made at `backup_s`, so it lacks all later changes."""
    counters.put(conn, tokens.RESTORED_BACKUP, backup_s)
    counters.put(conn, BACKED_UP, backup_s)
    audit.note(conn, now_s, audit.CLOUD, "site.restored", "site", backup_s=backup_s)


def _source_name(site: Site) -> str:
    return str(site.data.resolve())


@contextmanager
def _open_target(source: Site, folder: str | Path) -> Iterator[Site]:
    """Open the site in `folder` (new, empty, or an incomplete copy of `source`), and mark it as incomplete."""
    with closing(Site(folder, make=True, copied=True)) as target, copy_mark.held(target.data):
        marked = copy_mark.read(target.data)
        if marked is None and not target.database.read(_is_empty):
            raise CloudError("%s already contains a site: choose a new folder, or an empty database" % target.data)
        if marked is not None and (marked["whole"] or marked["of"] != _source_name(source)):
            raise CloudError("%s already contains a copy of %s: choose a new folder" % (target.data, marked["of"]))
        copy_mark.write(target.data, {"of": _source_name(source), "whole": False, "at_s": source.now_s()})
        yield target


def _is_empty(conn: sa.Connection) -> bool:
    return not any(conn.execute(sa.select(table).limit(1)).first() for table in metadata.sorted_tables)
