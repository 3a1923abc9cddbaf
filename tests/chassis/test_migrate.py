"""The command `migrate`: its messages about failures, and the update of a restored copy."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from chassis.migrate import migrate
from local.process import free_port
from services.notifications.__main__ import main
from tests.parts.local_stack import ROOT
from tests.parts.operator import Operator, blocks
from tests.parts.postgres import Database
from tests.parts.postgres import Server as Postgres


def test_a_database_that_stays_away_is_reported_in_a_sentence() -> None:
    url = f"postgresql://owner:secret@127.0.0.1:{free_port()}/nothing"
    with pytest.raises(
        SystemExit, match=r"migration failed: .*ENLACE_MIGRATION_URL: host"
    ) as error:
        migrate(url, [], wait=0)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["", None])
def test_without_a_url_no_database_of_this_machine_is_migrated(url: str | None) -> None:
    result = CliRunner().invoke(main, ["migrate"], env={"ENLACE_MIGRATION_URL": url})
    assert result.exit_code == 1
    assert "ENLACE_MIGRATION_URL is not set" in result.output


def test_a_migration_that_fails_is_reported_even_if_a_table_cannot_be_protected(
    postgres: Postgres, tmp_path: Path
) -> None:
    pg_database = postgres.database()
    pg_database.run_as_owner("CREATE TABLE things (id int)")
    pg_database.run_as_owner("COMMENT ON TABLE things IS 'append only: a_column_that_is_gone'")
    migration = tmp_path / "20260101000000_wrong.sql"
    migration.write_text("-- migrate:up\nSELECT not_there();\n-- migrate:down\n")
    with pytest.raises(SystemExit, match=r"(?s)migration failed: .*not_there"):
        migrate(pg_database.migration_url, [tmp_path])
    postgres.drop(pg_database)


def test_a_reader_does_not_wait_while_a_migration_waits_for_a_long_transaction(
    postgres: Postgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pg_database = postgres.database()
    pg_database.run_as_owner("CREATE TABLE things (id int)")
    for number, statement in enumerate(("SELECT 1", "ALTER TABLE things ADD COLUMN name text")):
        migration = tmp_path / f"2026010100000{number}_step.sql"
        migration.write_text(f"-- migrate:up\n{statement};\n-- migrate:down\n")
    url = pg_database.migration_url
    with ThreadPoolExecutor() as threads, psycopg.connect(url, autocommit=True) as reader:
        with psycopg.connect(url) as importer:
            importer.execute("INSERT INTO things VALUES (1)")
            migrated = threads.submit(migrate, url, [tmp_path])
            while not reader.execute(
                "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
            ).fetchone():
                assert not migrated.done()
            reader.execute("SET statement_timeout = '10s'")
            reader.execute("SELECT count(*) FROM things")
        output = migrated.result()
    assert [output.count(f"Applied: 2026010100000{number}") for number in (0, 1)] == [1, 1], output
    assert "migration waits for a lock (55P03)" in capfd.readouterr().err
    assert ("things", "name", "text") in columns_of(pg_database)
    postgres.drop(pg_database)


@pytest.mark.parametrize("service", ["partners", "referrals", "notifications"])
def test_a_copy_from_before_an_update_is_restored_and_updated_as_documented(
    postgres: Postgres, tmp_path: Path, service: str
) -> None:
    folders = [ROOT / "chassis" / "migrations", ROOT / "services" / service / "migrations"]
    files = sorted(folders[1].glob("*.sql"))
    older = tmp_path / "older"
    older.mkdir()
    for file in files[: len(files) // 2]:
        shutil.copy(file, older)
    pg_database = postgres.database(service)
    migrate(pg_database.migration_url, [folders[0], older])
    var, checkout = tmp_path / "var", tmp_path / "checkout"
    (var / "environment").mkdir(parents=True)
    (var / "environment" / service).write_text(
        f"export ENLACE_MIGRATION_URL='{pg_database.migration_url}'\n"
        f"export PATH='{Path(sys.executable).parent}:{postgres.programs}':$PATH\n"
    )
    checkout.mkdir()
    operator = Operator(checkout, var)
    postgres.dump(pg_database, checkout / f"{service}.dump")
    migrate(pg_database.migration_url, folders)
    columns = columns_of(pg_database)

    empty = operator.documented_command("Copies", "(. var/environment/referrals; psql")
    [restore] = ["\n".join(block) for block in blocks("Copies") if "pg_restore" in block[0]]
    for command in (empty, restore):
        operator.run(command.replace("referrals", service))
    assert columns_of(pg_database) == columns
    postgres.drop(pg_database)


def columns_of(pg_database: Database) -> list[Any]:
    with psycopg.connect(pg_database.migration_url) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
