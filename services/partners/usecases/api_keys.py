"""What managers may ask of the keys of their organisation's systems."""

import secrets
from collections.abc import Callable
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from services.partners.domain.api_key import USUAL_LIFE, ApiKey, ApiKeyEntry, Manager, full_key
from services.partners.store import api_keys, organizations
from services.partners.usecases import scopes as in_person
from services.partners.usecases.independence import second
from services.partners.usecases.passwords import mark_of
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
    """Makes a key of the own organisation; returns it with the full_key secret, which is nowhere afterwards.

    Nobody else makes one: with it he would read the inbox of an organisation that is not his.
    """
    owner = organization_id or caller.organization_id
    # Held, so that two keys made at the same moment are counted one after the other.
    if not is_id(owner) or not _decides(caller, owner) or organizations.fetch(tx, owner, hold="UPDATE") is None:
        raise NotFound
    secret = secrets.token_hex(32)
    live = api_keys.count_live(tx, owner, now)
    key = ApiKey.create(
        id or new_id(), owner, ApiKeyEntry(label, scopes, expire_time or now + USUAL_LIFE), live, now, _manager(tx, caller, now)
    )
    api_keys.add(tx, key, mark_of(secret))
    return key, full_key(key.id, secret)


def list_api_keys(tx: Transaction, caller: Caller) -> list[ApiKey]:
    """The own organisation's keys, also those that have ended."""
    return api_keys.listed(tx, caller.organization_id)


def revoke_api_key(tx: Transaction, caller: Caller, now: datetime, id: str) -> ApiKey:
    """Ends a key at once; so may a coordinator."""
    key = _fetch(tx, id)
    if not may_act_for(caller, key.organization_id):
        raise NotFound
    key.revoke(now)
    api_keys.keep(tx, key)
    return key


def confirm_api_key(tx: Transaction, caller: Caller, now: datetime, id: str) -> ApiKey:
    """Agrees, as a second manager, to a key that may do more than who made it."""
    return _decide(tx, caller, now, id, lambda key, manager: key.confirm(manager, now))


def transfer_api_key(tx: Transaction, caller: Caller, now: datetime, id: str) -> ApiKey:
    """Takes a key over from another manager, so that it does not fall with her."""
    return _decide(tx, caller, now, id, lambda key, manager: key.transfer(manager, now))


def revoke_keys_of(tx: Transaction, now: datetime, worker_id: str) -> list[str]:
    """Ends the keys that stand with a manager who is out; returns their ids."""
    keys = api_keys.standing_with(tx, worker_id)
    for key in keys:
        key.revoke(now)
        api_keys.keep(tx, key)
    return [key.id for key in keys]


def _decide(tx: Transaction, caller: Caller, now: datetime, id: str, act: Callable[[ApiKey, Manager], None]) -> ApiKey:
    key, manager = _fetch(tx, id), _manager(tx, caller, now)
    if manager is None or not _decides(caller, key.organization_id):
        raise NotFound
    act(key, manager)
    api_keys.keep(tx, key)
    return key


def _fetch(tx: Transaction, id: str) -> ApiKey:
    key_and_hash = api_keys.fetch(tx, id, hold=True) if is_id(id) else None
    if key_and_hash is None:
        raise NotFound
    return key_and_hash[0]


def _decides(caller: Caller, organization_id: str) -> bool:
    return caller.kind == "system" or caller.organization_id == organization_id


def _manager(tx: Transaction, caller: Caller, now: datetime) -> Manager | None:
    """Who stands for a key; nobody for one that the network's set-up makes."""
    return Manager(caller.id, second(tx, caller, now).kin, in_person.of(caller.roles)) if caller.kind == "worker" else None
