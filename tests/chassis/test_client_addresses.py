"""The address of a client, which the gateway signs for the service.

A service ignores every address that the gateway has not just signed for that service.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from chassis.limits import address_of
from chassis.tokens import ADDRESS_LIFETIME, LEEWAY, AddressReader, AddressSigner, Caller, Issuer
from keys import key_folder
from tests.builders import NOON
from tests.parts.clocks import SettableClock

AUDIENCE = "enlace.partners"


class Gateway:
    """Signs addresses with its keys; `reader` verifies them as the partners service does."""

    def __init__(self, folder: Path) -> None:
        key_folder.create(folder, ["partners"])
        self.folder, self.clock = folder, SettableClock(NOON)
        self.reader = AddressReader(
            lambda: key_folder.all_verifying(folder, "calls.gateway"), AUDIENCE, self.clock
        )

    def sign(self, address: str, audience: str = AUDIENCE, key: str = "calls.gateway") -> str:
        return AddressSigner(key_folder.signing(self.folder, key), self.clock).sign(
            address, audience
        )


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::/64", ""])
def test_an_address_signed_by_the_gateway_is_accepted(gateway: Gateway, address: str) -> None:
    assert gateway.reader.read(gateway.sign(address)) == address


def test_an_address_made_up_by_a_caller_is_rejected(gateway: Gateway) -> None:
    caller = Caller("w" * 32, "worker", "o" * 32)
    made_up_addresses = [
        "192.0.2.7",
        "",
        gateway.sign("192.0.2.7", key="tokens"),
        gateway.sign("192.0.2.7", audience="enlace.referrals"),
        Issuer(key_folder.signing(gateway.folder, "tokens"), gateway.clock).issue(caller, AUDIENCE)[
            0
        ],
        gateway.sign("192.0.2.7")[:-4] + "AAAA",
    ]
    assert [gateway.reader.read(address) for address in made_up_addresses] == [None] * len(
        made_up_addresses
    )


def test_a_signed_address_is_valid_only_as_long_as_a_call_may_last(gateway: Gateway) -> None:
    signed_address = gateway.sign("192.0.2.7")
    gateway.clock.advance(ADDRESS_LIFETIME)
    assert gateway.reader.read(signed_address) == "192.0.2.7"
    gateway.clock.advance(timedelta(seconds=LEEWAY + 1))
    assert gateway.reader.read(signed_address) is None
    assert gateway.reader.read(signed_address, seconds_waited=LEEWAY + 1) == "192.0.2.7", (
        "the service caused the wait"
    )


def test_a_new_key_of_the_gateway_is_accepted_alongside_the_old_one(gateway: Gateway) -> None:
    old_address = gateway.sign("192.0.2.7")
    assert key_folder.replace_pair(gateway.folder, "calls.gateway") == "calls.gateway.1"
    new_address = gateway.sign("192.0.2.8", key="calls.gateway.1")
    assert [
        gateway.reader.read(signed_address) for signed_address in (old_address, new_address)
    ] == ["192.0.2.7", "192.0.2.8"]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:50000", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[::1]:50000", "::/64"),
        ("ipv6:[fe80::1%25eth0]:50000", "fe80::/64"),
        ("unix:/tmp/socket", ""),
    ],
)
def test_a_connection_counts_by_its_ipv4_address_or_its_ipv6_network(
    peer: str, address: str
) -> None:
    assert address_of(peer) == address
