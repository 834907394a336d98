"""Migrations create exactly tables.py, keep data in both directions, and run once even if several processes start."""

import multiprocessing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from filled_tables import ROWS, fill, rows
from ioto_tools.cloud.http.errors import CloudError, Unavailable
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage import migrate
from ioto_tools.cloud.storage.tables import metadata

BOTH = True


def names(conn):
    return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


def run(conn, sql):
    conn.exec_driver_sql(sql)


def differences(conn):
    return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)


def again(ask, function):
    """Call ask(function); repeat it if it raises Unavailable because its connection is older than the tables."""
    try:
        return ask(function)
    except Unavailable as e:
        assert "schema" in str(e)
        return ask(function)


def schema(conn):
    """All properties of the tables except column defaults, which are for the rows of older revisions."""
    inspector = sa.inspect(conn)
    found = {}
    for table in names(conn):
        columns = inspector.get_columns(table)
        kinds = {c["name"]: (str(c["type"]), getattr(c["type"], "collation", None), c["nullable"]) for c in columns}
        keys = inspector.get_pk_constraint(table)["constrained_columns"]
        others = (
            inspector.get_foreign_keys(table),
            inspector.get_unique_constraints(table),
            [_with_texts(index) for index in inspector.get_indexes(table)],
        )
        checks = inspector.get_check_constraints(table)
        found[table] = kinds, keys, checks, [sorted(repr(sorted(each.items())) for each in kind) for kind in others]
    return found


def _with_texts(index):
    """The index as returned by the inspector, with its conditions as texts, which can be compared."""
    return {**index, "dialect_options": {name: str(value) for name, value in index.get("dialect_options", {}).items()}}


def test_a_new_database_has_the_tables_that_all_migrations_make(make_site, tmp_path):
    site = make_site(tmp_path / "site")
    created = site.database.read(schema)
    assert set(created) == set(metadata.tables)
    site.database.write(migrate.to, "base")
    assert again(site.database.read, names) == set()
    site.database.write(migrate.to, migrate.LATEST)
    assert again(site.database.read, schema) == created
    assert site.database.read(differences) == []
    site.close()


@pytest.mark.sweep
def test_every_revision_up_and_down_with_rows_in_every_table(make_site, tmp_path):
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    revisions = sorted(path.name.split("_")[0] for path in folder.glob("*.py"))
    assert revisions[-1] == migrate.LATEST
    site = make_site(tmp_path / "site")
    for target in revisions[::-1][1:] + ["base"] + revisions + revisions[::-1][1:] + ["base", migrate.LATEST]:
        before = again(site.database.write, fill)
        site.database.write(migrate.to, target)
        assert site.database.read(migrate.revision) == (None if target == "base" else target)
        assert target != "base" or site.database.read(names) == set()
        after = again(site.database.read, rows)
        for table in before.keys() & after.keys():
            assert len(before[table]) == len(after[table]) == ROWS, (target, table)
            for old, new in zip(before[table], after[table]):
                assert all(old[column] == new[column] for column in old.keys() & new.keys()), (target, table, old, new)
    assert site.database.read(differences) == []
    new_product(site, "thermo")
    site.close()


def test_a_migration_that_fails_changes_nothing(make_site, tmp_path):
    site = make_site(tmp_path / "site")
    site.database.write(migrate.to, "base")
    site.database.write(run, "CREATE TABLE tokens (in_the_way INTEGER)")
    with pytest.raises(sa.exc.DatabaseError, match="tokens"):
        site.database.write(migrate.up)
    assert site.database.read(names) == {"tokens"} and site.database.read(migrate.revision) is None
    site.close()


def test_a_newer_database_is_refused(make_site, tmp_path):
    site = make_site(tmp_path / "site")
    site.database.write(run, "UPDATE alembic_version SET version_num = '9999'")
    site.close()
    with pytest.raises(CloudError, match="newer ioto-tools"):
        make_site(tmp_path / "site")


def _make(make_site, folder, number):
    site = make_site(folder)
    new_product(site, "product%d" % number)
    site.close()


@pytest.mark.sweep
def test_several_processes_create_the_same_site_at_once(make_site, tmp_path):
    context = multiprocessing.get_context("fork")
    for round in range(3):
        folder = tmp_path / str(round)
        make_site.settings(folder)
        processes = [context.Process(target=_make, args=(make_site, folder, number)) for number in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert [process.exitcode for process in processes] == [0] * 6
        site = make_site(folder)
        assert len(overview.products(site)) == 6
        site.close()
