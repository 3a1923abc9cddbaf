"""API keys for an organisation's systems. Its managers create the keys and answer for them."""

import secrets
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import NotAllowed, NotFound
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.wire import moment, word_list
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.api_key import (
    USUAL_LIFE,
    ApiKey,
    ApiKeyEntry,
    Manager,
    full_key,
)
from services.partners.members.domain.worker import Role, Worker
from services.partners.members.store import api_keys, organizations
from services.partners.members.usecases.independence import with_present_kin
from services.partners.members.usecases.organizations import check_change
from services.partners.members.usecases.passwords import mark_of
from services.partners.members.usecases.scopes import scopes_within
from services.partners.members.usecases.standing import lock_account, may_act_for
from services.partners.members.wire import messages


class ApiKeys:
    """Handles the rpcs for API keys."""

    def __init__(self, mail: Keyring) -> None:
        """Sets up the handlers; `mail` is the keyring that seals e-mails to managers."""
        self._mail = mail

    def CreateApiKey(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        """Creates a key for the caller's own organisation, and returns it with its secret.

        No other call returns the secret. Nobody can create a key for another organisation, because
        the key would open that organisation's inbox.
        """
        now, owner = call.clock.now(), request.organization_id or call.caller.organization_id
        expire_time = moment(request, "expire_time")
        scopes = word_list(contract_pb2.Scope, request.scopes, "scopes")
        # The lock makes sure that two keys created at the same moment are counted one after the
        # other.
        if (
            owner != call.caller.organization_id
            or organizations.fetch(call.tx, owner, lock="UPDATE") is None
        ):
            raise NotFound
        manager = _manager(call)
        secret = secrets.token_hex(32)
        entry = ApiKeyEntry(request.label.strip(), scopes, expire_time or now + USUAL_LIFE)
        key = ApiKey.create(
            new_id(), owner, entry, api_keys.count_live(call.tx, owner, now), now, manager
        )
        api_keys.add(call.tx, key, mark_of(secret))
        call.trail.append(Entry("api_key_create", key.id, detail_codes=key.entry.scopes))
        return pb.CreateApiKeyResponse(
            api_key=messages.api_key(key), secret=full_key(key.id, secret)
        )

    def ListApiKeys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        """Lists the keys of the caller's organisation, including revoked and expired keys."""
        return pb.ListApiKeysResponse(
            api_keys=map(messages.api_key, api_keys.keys_of(call.tx, call.caller.organization_id))
        )

    def ConfirmApiKey(self, request: pb.ConfirmApiKeyRequest, call: Call) -> pb.ApiKey:
        """Records a second manager's agreement to scopes beyond the rights of the key's manager."""
        key, manager = _own_key(call, request.id)
        key.confirm(manager, call.clock.now())
        api_keys.save(call.tx, key)
        call.trail.append(Entry("api_key_confirm", key.id, detail_codes=key.entry.scopes))
        return messages.api_key(key)

    def TransferApiKey(self, request: pb.TransferApiKeyRequest, call: Call) -> pb.ApiKey:
        """Takes over a key from another manager, so that it does not end with her account."""
        key, manager = _own_key(call, request.id)
        key.transfer(manager, call.clock.now())
        api_keys.save(call.tx, key)
        call.trail.append(Entry("api_key_transfer", key.id))
        return messages.api_key(key)

    def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.ApiKey:
        """Revokes a key of the caller's organisation at once.

        A manager who is also a coordinator may revoke the key of any organisation; the managers of
        that organisation are notified.
        """
        key = _fetch(call.tx, request.id)
        if not may_act_for(call.caller, key.organization_id):
            raise NotFound
        check_change(call, self._mail, key.organization_id)
        key.revoke(call.clock.now())
        api_keys.save(call.tx, key)
        call.trail.append(Entry("api_key_revoke", key.id))
        return messages.api_key(key)


def revoke_keys_of(tx: Transaction, now: datetime, worker_id: str) -> None:
    """Revokes the keys that end with a worker's account, or with her role of manager."""
    for key in api_keys.lapsing_with(tx, worker_id):
        key.revoke(now)
        api_keys.save(tx, key)


def limit_keys_of(tx: Transaction, now: datetime, worker: Worker) -> None:
    """Limits a manager's keys to the rights of her present roles.

    Keys that exceed these rights wait for a second manager.
    """
    scopes = scopes_within(frozenset(worker.entry.roles))
    for key in api_keys.lapsing_with(tx, worker.id):
        key.limit(scopes, now)
        api_keys.save(tx, key)


def _own_key(call: Call, id: str) -> tuple[ApiKey, Manager]:
    """Returns a key of the caller's organisation, locked, and the caller as a manager.

    Raises NotFound if the organisation has no such key, or if the caller is not a worker.
    """
    manager, key = _manager(call), _fetch(call.tx, id)
    if manager is None or call.caller.organization_id != key.organization_id:
        raise NotFound
    return key, manager


def _fetch(tx: Transaction, id: str) -> ApiKey:
    key_and_hash = api_keys.fetch(tx, id, lock=True) if is_id(id) else None
    if key_and_hash is None:
        raise NotFound
    return key_and_hash[0]


def _manager(call: Call) -> Manager | None:
    """Returns the caller as the manager of a key; None if the caller is not a person.

    Her account is locked, because no key may be created while the account ends. Raises NotAllowed
    if the account has ended, or if she no longer has a role for this, although her token states
    one.
    """
    caller, worker = call.caller, lock_account(call.tx, call.caller)
    if worker is None:
        return None
    if not {Role.MANAGER, Role.COORDINATOR} & {*worker.entry.roles}:
        raise NotAllowed("right_missing")
    return Manager(
        caller.id,
        with_present_kin(call.tx, caller, call.clock.now()).kin,
        scopes_within(frozenset(worker.entry.roles)),
    )
