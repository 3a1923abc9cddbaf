"""What managers may ask of the keys of their organisation's systems."""

import hashlib
import secrets
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from services.partners.domain.api_key import USUAL_LIFE, ApiKey, ApiKeyEntry, whole
from services.partners.store import api_keys, organizations
from services.partners.usecases.standing import may_act_for


def create_api_key(
    tx: Transaction,
    caller: Caller,
    now: datetime,
    organization_id: str,
    label: str,
    scopes: tuple[str, ...],
    expire_time: datetime | None = None,
    *,
    id: str | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key; returns it with the whole secret, which is nowhere afterwards."""
    owner = organization_id or caller.organization_id
    # Held, so that two keys made at the same moment are counted one after the other.
    if not is_id(owner) or not may_act_for(caller, owner) or organizations.fetch(tx, owner, hold="UPDATE") is None:
        raise NotFound
    secret = secrets.token_hex(32)
    live = api_keys.count_live(tx, owner, now)
    key = ApiKey.create(id or new_id(), owner, ApiKeyEntry(label, scopes, expire_time or now + USUAL_LIFE), live, now)
    api_keys.add(tx, key, hashlib.sha256(secret.encode()).digest())
    return key, whole(key.id, secret)


def list_api_keys(tx: Transaction, caller: Caller) -> list[ApiKey]:
    """The own organisation's keys, also those that have ended."""
    return api_keys.listed(tx, caller.organization_id)


def revoke_api_key(tx: Transaction, caller: Caller, now: datetime, id: str) -> ApiKey:
    """Ends a key at once."""
    found = api_keys.fetch(tx, id, hold=True) if is_id(id) else None
    if found is None or not may_act_for(caller, found[0].organization_id):
        raise NotFound
    key = found[0]
    key.revoke(now)
    api_keys.keep(tx, key)
    return key
