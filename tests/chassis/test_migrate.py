"""The command `migrate` says in a sentence why it could not begin, without the password."""

import pytest
from click.testing import CliRunner

from chassis.migrate import migrate
from local.process import free_port
from services.notifications.__main__ import main


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
