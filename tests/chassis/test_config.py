"""Settings in files: the content of the file is the value, and a missing file is reported.

A missing optional file counts as a missing setting.
"""

from importlib import import_module
from pathlib import Path

import pytest

from chassis.config import Settings, WrongSettings, service_settings


def test_a_text_comes_from_the_file_that_its_setting_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("smtp://mail.example\n")
    monkeypatch.setenv("ENLACE_SMTP_URL_FILE", str(tmp_path / "url"))
    assert Settings().text("ENLACE_SMTP_URL") == "smtp://mail.example"


def test_all_missing_files_are_reported_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ENLACE_DATABASE_URL_FILE", "ENLACE_MIGRATION_URL_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    settings = Settings()
    assert (
        settings.text("ENLACE_DATABASE_URL", "") == settings.text("ENLACE_MIGRATION_URL", "") == ""
    )
    with pytest.raises(WrongSettings, match=r"ENLACE_DATABASE_URL_FILE.*ENLACE_MIGRATION_URL_FILE"):
        settings.done()


def test_a_missing_optional_file_leaves_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENLACE_SMTP_URL_FILE", str(tmp_path / "nothing"))
    settings = Settings()
    assert settings.text("ENLACE_SMTP_URL", "outbox:", optional_file=True) == "outbox:"
    settings.done()


def test_pairs_are_read_and_a_malformed_text_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENLACE_LINES", "NI=133,CR=000-1331")
    assert Settings().pairs("ENLACE_LINES") == {"NI": "133", "CR": "000-1331"}
    monkeypatch.setenv("ENLACE_LINES", "133")
    settings = Settings()
    assert settings.pairs("ENLACE_LINES") == {}
    with pytest.raises(SystemExit, match="ENLACE_LINES"):
        settings.done()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ENLACE_LISTEN", ["9090", "127.0.0.1", ":9090", "127.0.0.1:99999", "127.0.0.1:http", ""]),
        ("ENLACE_METRICS_LISTEN", ["9464", "127.0.0.1:", "127.0.0.1:99999"]),
        ("ENLACE_RPC_THREADS", ["0", "-3", "many"]),
        ("ENLACE_CALLER_RATE", ["0", "-1", "1.5"]),
        ("KAFKA_REPLICATION_FACTOR", ["0"]),
        ("KAFKA_SECURITY_PROTOCOL", ["TLS", "ssl", ""]),
        ("KAFKA_SASL_MECHANISM", ["SCRAM"]),
    ],
)
def test_a_value_with_which_a_service_cannot_run_is_reported_with_the_others(
    monkeypatch: pytest.MonkeyPatch, name: str, values: list[str]
) -> None:
    for value in values:
        monkeypatch.setenv("ENLACE_REFLECTION", "perhaps")
        monkeypatch.setenv(name, value)
        settings = Settings()
        service_settings(settings)
        with pytest.raises(WrongSettings, match=rf"{name}.*ENLACE_REFLECTION|ENLACE_REF.*{name}"):
            settings.done()


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ("referrals", "ENLACE_OPENINGS_AN_HOUR", "0"),
        ("notifications", "ENLACE_SMTP_URL", "outbox:/mail"),
        ("notifications", "ENLACE_SMTP_URL", "http://mail.example"),
        ("notifications", "ENLACE_MAIL_FROM", "nobody"),
        ("partners", "ENLACE_SECOND_FACTOR_REQUIRED", "perhaps"),
    ],
)
def test_a_wrong_setting_of_one_service_is_reported_with_the_others(
    monkeypatch: pytest.MonkeyPatch, service: str, name: str, value: str
) -> None:
    monkeypatch.delenv("ENLACE_DEVELOPMENT", raising=False)
    monkeypatch.setenv("ENLACE_SMTP_URL", "smtp://mail.example")
    monkeypatch.setenv("ENLACE_LISTEN", "9090")
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as raised:
        import_module(f"services.{service}.config").load()
    assert "ENLACE_LISTEN" in str(raised.value)
    assert name in str(raised.value)


def test_the_documented_values_of_the_settings_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "ENLACE_LISTEN": "[::]:9090",
        "ENLACE_METRICS_LISTEN": "",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert service_settings(settings).listen == "[::]:9090"
    settings.done()
