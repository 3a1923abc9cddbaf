"""Keys are changed in a cluster as deploy/k8s/README.md describes.

The page's commands run one after the other on the Secrets that the Job creates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.db import Database
from chassis.errors import Unauthenticated
from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller, Issuer, Verifier
from keys import key_folder
from keys.sealing import Keyring
from services.referrals.__main__ import MIGRATIONS
from tests.builders import NOON
from tests.parts.cluster_shell import Cluster
from tests.parts.local_stack import ROOT
from tests.parts.operator import blocks
from tests.parts.postgres import Server
from tests.project.test_deploy import SERVICES, kubectl
from tests.project.test_in_cluster import make_secrets

pytestmark = pytest.mark.long

PAGE = ROOT / "deploy" / "k8s" / "README.md"
ENTRY = "A key is changed"
CALLER = Caller("w" * 32, "worker", "o" * 32)


def recipe(words: str) -> list[str]:
    """Returns the documented commands of the block that contains these words."""
    [block] = [block for block in blocks(ENTRY, PAGE) if any(words in line for line in block)]
    return block


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[[bool], Cluster]:
    def make(immutable: bool) -> Cluster:
        cluster, created = Cluster(tmp_path, kubectl()), make_secrets.make_all()
        for name, contents in {"enlace-keys": created, **make_secrets.cut(created)}.items():
            cluster.add(name, contents, immutable=immutable)
        for name in (*SERVICES, "gateway"):
            cluster.restart(name)
        return cluster

    return make


@pytest.fixture
def cluster(make_cluster: Callable[[bool], Cluster]) -> Iterator[Cluster]:
    """A cluster.

    At the end the Secret of all keys and the Secrets cut from it have the same content, so that a
    lost Secret can be created again.
    """
    created = make_cluster(False)
    yield created
    for name, contents in make_secrets.cut(created.contents("enlace-keys")).items():
        assert created.contents(name) == contents, name


def token(cluster: Cluster) -> str:
    """Returns a caller's token, signed with the key that the pods of partners use."""
    return Issuer(
        lambda: key_folder.signing_at(
            key_folder.all_signing(cluster.keys("partners"), "tokens"), time.time()
        ),
        SystemClock(),
    ).issue(CALLER, "enlace.tests")[0]


def verify(cluster: Cluster, service: str, token: str) -> Caller:
    return Verifier(
        lambda: key_folder.all_verifying(cluster.keys(service), "tokens"),
        "enlace.tests",
        SystemClock(),
    ).verify(token)


def test_each_service_accepts_every_token_while_the_key_of_tokens_is_changed(
    cluster: Cluster,
) -> None:
    before = token(cluster)
    script = ""
    for line in recipe("print-key tokens.1"):
        # Files stay between two lines. A restart affects one deployment after the other.
        cluster.run(f"umask 077\n{line}")
        script += line
        for service in SERVICES:
            assert verify(cluster, service, token(cluster)) == CALLER, line
    assert "rm new.keys" in script
    assert not (cluster.state / "new.keys").exists()
    for service in SERVICES:
        with pytest.raises(Unauthenticated, match="token_invalid"):
            verify(cluster, service, before)
    assert {name for name in cluster.contents("keys-partners") if name.startswith("tokens")} == {
        "tokens.1.jwk",
        "tokens.1.pub.jwk",
    }
    assert {name for name in cluster.contents("keys-referrals") if name.startswith("tokens")} == {
        "tokens.1.pub.jwk"
    }


def test_after_a_change_of_sealing_keys_sealed_data_can_be_opened_without_the_old_key(
    cluster: Cluster, postgres: Server
) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    database = Database(place.url, max_size=2)
    database.open()
    old_keyring, person_id = key_folder.keyring(cluster.keys("referrals"), "referrals"), new_id()
    about = f"person_keys/{person_id}/wrapped"
    data_key, wrapped = old_keyring.new_key(about)
    name = data_key.seal("Ximena", "people/given_name")
    old_fingerprint = old_keyring.fingerprint(b"x", "references")
    try:
        with database.transaction(SYSTEM) as tx:
            tx.execute(
                "INSERT INTO people (id, organization_id, version, create_time, update_time,"
                " names_form) VALUES (%s, %s, 1, %s, %s, 9)",
                (person_id, new_id(), NOON, NOON),
            )
            tx.execute(
                "INSERT INTO person_keys (person_id, wrapped) VALUES (%s, %s)", (person_id, wrapped)
            )
        settings = {"ENLACE_DATABASE_URL": place.url}
        output = cluster.run("\n".join(recipe("print-key sealing.referrals.1")), **settings)
        assert output.endswith("1 wrapped, 0 unreadable, 1 newest\n")
        output = cluster.run("\n".join(recipe('"op": "move"')), **settings)
        assert output.startswith("0 waiting, 1 newest\n")
        with database.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT wrapped FROM person_keys WHERE person_id = %s", (person_id,)
            ).fetchone()
    finally:
        database.close()
    assert row
    new_keyring: Keyring = key_folder.keyring(cluster.keys("referrals"), "referrals")
    assert list(new_keyring.numbers) == [1]
    assert (
        new_keyring.unwrap(bytes(row["wrapped"]), about).open(name, "people/given_name") == "Ximena"
    )
    assert new_keyring.fingerprint(b"x", "references") == old_fingerprint


def test_the_key_of_facts_is_changed_for_its_publisher_and_for_all_consumers(
    cluster: Cluster, postgres: Server
) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    before = key_folder.verifying(cluster.keys("partners"), "facts.referrals")
    output = cluster.run(
        "\n".join(recipe("print-key facts.referrals")), ENLACE_DATABASE_URL=place.url
    )
    assert output.endswith("0 facts will be published again\n")
    signing_key = key_folder.signing(cluster.keys("referrals"), "facts.referrals")
    assert signing_key.kid != before.kid
    assert {
        key_folder.verifying(cluster.keys(service), "facts.referrals").kid for service in SERVICES
    } == {signing_key.kid}
    assert not (cluster.keys("partners") / "facts.referrals.jwk").exists()


def test_the_key_of_mail_is_changed_for_both_services_that_share_it(cluster: Cluster) -> None:
    before = key_folder.secret(cluster.keys("partners"), "mail")
    cluster.run("\n".join(recipe("print-key mail")))
    keys = {key_folder.secret(cluster.keys(name), "mail") for name in ("partners", "notifications")}
    assert len(keys - {before}) == len(keys) == 1


def test_immutable_secrets_of_the_previous_version_can_be_changed_once_replaced(
    make_cluster: Callable[[bool], Cluster],
) -> None:
    cluster = make_cluster(True)
    before = {name: cluster.contents(name) for name in ("enlace-keys", "keys-gateway")}
    line = 'kubectl -n enlace patch secret keys-gateway --patch=\'{"data": {"gateway.key": null}}\''
    assert cluster.run(f"if {line} 2>&1; then exit 1; fi").strip().endswith("immutable` is set")
    cluster.run("\n".join(recipe("replace --force")))
    assert {name: cluster.contents(name) for name in before} == before
    cluster.run(line)
