"""The origin of a request that carries a password or a PIN: its IP address and its device."""

from dataclasses import replace

from services.gateway.edge import limits
from services.gateway.edge.clients import current_caller


def attach(device: str = "") -> None:
    """Sets the origin for the calls of this request. The address is sent signed (clients.py)."""
    current_caller.set(
        replace(
            current_caller.get(),
            origin={"client-address": limits.client_network(), "client-device": device},
        )
    )
