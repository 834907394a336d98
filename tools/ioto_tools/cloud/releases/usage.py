"""Which devices use a release: those that run it, are pinned to it, or may still apply it. Read-only."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ..rollout import catalogue
from ..rules import update_states
from ..storage.tables import AnyRow, devices, grants


@dataclass(frozen=True)
class Usage:
    """Numbers of devices; removed devices do not count."""

    runs: int  # run the version or the image
    offered: int  # were offered it and have not finished
    pinned: int

    def __bool__(self) -> bool:
        return bool(self.runs or self.offered or self.pinned)

    def __str__(self) -> str:
        return ", ".join(self._words()) or "no device uses it"

    def _words(self) -> Iterator[str]:
        for n, one, more in (
            (self.runs, "1 device runs it", "%d devices run it"),
            (self.offered, "1 device was offered it and has not finished",
             "%d devices were offered it and have not finished"),
            (self.pinned, "1 device is pinned to it", "%d devices are pinned to it"),
        ):  # fmt: skip
            if n:
                yield one if n == 1 else more % n


def of_release(conn: sa.Connection, release: AnyRow) -> Usage:
    """The Usage of the release (its row)."""
    here = devices.c.product == release["product"], devices.c.removed_s.is_(None)
    open_yet = grants.c.release == release["id"], grants.c.state.in_(update_states.OPEN), devices.c.removed_s.is_(None)
    return Usage(
        _count(conn, sa.select(devices.c.key).where(*here, _runs(release))),
        _count(conn, sa.select(grants.c.device).join(devices, devices.c.key == grants.c.device).where(*open_yet)),
        _count(conn, sa.select(devices.c.key).where(*here, devices.c.pin == release["precedence"])),
    )


def _runs(release: AnyRow) -> sa.ColumnElement[bool]:
    """Does the device's last check-in have the release's version, with any build metadata, or its image's SHA-256?"""
    image = catalogue.image_checksum(release)
    version = devices.c.version
    return sa.or_(
        version == release["precedence"],
        version.startswith(release["precedence"] + "+"),  # a SemVer version has no wildcard of LIKE
        devices.c.properties.contains('"%s"' % image),
    )


def _count(conn: sa.Connection, rows: sa.Select[tuple[str]]) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar_one()
