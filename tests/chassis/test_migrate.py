"""The command `migrate` says in a sentence why it could not begin, without the password."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from chassis.migrate import migrate
from local.process import free_port
from services.notifications.__main__ import main
from tests.parts.postgres import Server as Postgres


def test_a_database_that_stays_away_is_reported_in_a_sentence() -> None:
    url = f"postgresql://owner:secret@127.0.0.1:{free_port()}/nothing"
    with pytest.raises(SystemExit, match=r"migration failed: .*refused") as error:
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
    place = postgres.database()
    place.run_as_owner("CREATE TABLE things (id int)")
    place.run_as_owner("COMMENT ON TABLE things IS 'append only: a_column_that_is_gone'")
    migration = tmp_path / "20260101000000_wrong.sql"
    migration.write_text("-- migrate:up\nSELECT not_there();\n-- migrate:down\n")
    with pytest.raises(SystemExit, match=r"(?s)migration failed: .*not_there"):
        migrate(place.migration_url, [tmp_path])
    postgres.drop(place)
