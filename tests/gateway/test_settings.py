"""The settings with which the gateway starts, and its errors for wrong settings."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.config import WrongSettings
from chassis.tokens import AddressReader
from keys import key_folder
from services.gateway.config import from_environment
from tests.parts.local_stack import ROOT
from tests.project.test_in_cluster import make_secrets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gateway's key folder, in production."""
    monkeypatch.setenv("ENLACE_KEYS", str(tmp_path))
    monkeypatch.delenv("ENLACE_DEVELOPMENT", raising=False)
    return tmp_path


def test_without_the_key_that_signs_addresses_the_gateway_starts_only_in_development(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        WrongSettings, match=r"calls\.gateway\.jwk.*print-key calls\.gateway.*operations\.md"
    ):
        from_environment()
    monkeypatch.setenv("ENLACE_DEVELOPMENT", "1")
    assert from_environment().address_signer is None
    monkeypatch.delenv("ENLACE_DEVELOPMENT")
    key_folder.create(folder, ())
    assert from_environment().address_signer


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "half of a k"])
def test_a_file_that_holds_no_signing_key_is_refused(folder: Path, content: str) -> None:
    key_folder.create(folder, ())
    assert from_environment().site
    (folder / "gateway.key").write_text(content)
    with pytest.raises(WrongSettings, match=r"/gateway\.key holds no key"):
        from_environment()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", ":"])
def test_an_address_without_a_port_is_named_with_the_other_errors(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ENLACE_HTTP_LISTEN", address)
    with pytest.raises(WrongSettings, match=r"calls\.gateway\.jwk.*ENLACE_HTTP_LISTEN"):
        from_environment()


@pytest.mark.parametrize("name", ["ENLACE_EXIT_URL", "ENLACE_PUBLIC_URL"])
@pytest.mark.parametrize("url", ["www.example.org", "/clima", "https://", "mailto:a@b.example"])
def test_a_url_without_scheme_or_host_is_refused_since_quick_exit_would_stay_on_the_site(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    key_folder.create(folder, ())
    for good in ("https://es.wikipedia.org/wiki/Clima", "HTTP://Enlace.example:8080"):
        monkeypatch.setenv(name, good)
        assert from_environment().site
    monkeypatch.setenv(name, url)
    with pytest.raises(WrongSettings, match=f"{name} is not a URL"):
        from_environment()


@pytest.mark.parametrize("name", ["ENLACE_HTTP_LISTEN", "ENLACE_METRICS_LISTEN"])
def test_an_address_that_is_in_use_is_named_with_its_setting(folder: Path, name: str) -> None:
    key_folder.create(folder, ())
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses = {"ENLACE_HTTP_LISTEN": "127.0.0.1:0"} | {
            name: f"127.0.0.1:{server.getsockname()[1]}"
        }
        gateway = subprocess.run(
            [sys.executable, "-m", "services.gateway", "serve"],
            cwd=ROOT,
            env=os.environ | addresses,
            capture_output=True,
            text=True,
        )
    assert gateway.stderr.startswith(f"wrong settings: {name}: ")


@pytest.mark.parametrize("name", ["calls.gateway", "calls.gateway.1"])
def test_in_a_cluster_the_gateway_signs_with_the_key_in_its_secret(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    values, partners_folder = (
        make_secrets.cut(make_secrets.make_all()),
        tmp_path_factory.mktemp("partners"),
    )
    for place, contents in (
        (folder, values["keys-gateway"]),
        (partners_folder, values["keys-partners"]),
    ):
        for file, content in contents.items():
            (place / file.replace("calls.gateway", name)).write_bytes(content)
    signer = from_environment().address_signer
    assert signer
    reader = AddressReader(
        partial(key_folder.all_verifying, partners_folder, "calls.gateway"),
        "enlace.partners",
        SystemClock(),
    )
    assert reader.read(signer.sign("192.0.2.7", "enlace.partners")) == "192.0.2.7"
