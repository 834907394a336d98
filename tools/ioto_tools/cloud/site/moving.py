"""Moves, backs up and restores sites: copying.py from one folder's site to another's, wherever their databases and
images are.

The target must be new or empty. Until the copy is complete, it has a mark (mark.py), which lets the same command
resume.
"""

from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import CloudError
from ..storage import audit, counters
from ..storage.tables import metadata
from . import copying, mark
from .site import Site


def migrate(data, to, progress):
    """Move the site of folder `data`, which must not be served meanwhile, to folder `to`; return the result of
    copying.copy().
    """
    with closing(Site(data)) as source, _target(source, to) as target:
        copied = copying.copy(source, target, progress)
        copying.unchanged(source, copied)
        mark.remove(target.data)
    return copied


def backup(data, to, progress):
    """Back up a snapshot of the site of folder `data` to folder `to`."""
    with closing(Site(data)) as source, _target(source, to) as target:
        copied = copying.copy(source, target, progress)
        mark.write(target.data, of=_name(source), whole=True, at_s=source.now_s())
    return copied


def restore(backup, data, progress):
    """Restore the backup in folder `backup` to folder `data`."""
    said = mark.read(Path(backup))
    if said is None or not said["whole"]:
        raise CloudError(
            "%s is not a complete backup: make one with `ioto cloud backup`; after an interruption the same command "
            "finishes it" % backup
        )
    with closing(Site(backup, copied=True)) as source, _target(source, data) as target:
        copied = copying.copy(source, target, progress)
        target.database.write(_restored, said["at_s"], target.now_s())
        mark.remove(target.data)
    return copied


def _restored(conn, backup_s, now_s) -> None:
    """Record that the site was restored: it does not contain what devices did after `backup_s`."""
    counters.put(conn, tokens.BACKUP, backup_s)
    audit.note(conn, now_s, audit.CLOUD, "site.restored", "site", backup_s=backup_s)


def _name(site):
    return str(site.data.resolve())


@contextmanager
def _target(source, folder):
    """The site in `folder`: new, empty or an incomplete copy of `source`; marked as an incomplete copy from now on."""
    with closing(Site(folder, make=True, copied=True)) as target, mark.held(target.data):
        said = mark.read(target.data)
        if said is None and not target.database.read(_empty):
            raise CloudError("%s holds a site already: choose a new folder, or an empty database" % target.data)
        if said is not None and (said["whole"] or said["of"] != _name(source)):
            raise CloudError("%s holds a copy of %s already: choose a new folder" % (target.data, said["of"]))
        mark.write(target.data, of=_name(source), whole=False, at_s=source.now_s())
        yield target


def _empty(conn) -> bool:
    return not any(conn.execute(sa.select(table).limit(1)).first() for table in metadata.sorted_tables)
