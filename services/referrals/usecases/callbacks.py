"""Calls that lines owe: agreed on by an operator or asked for by reference, as far as her safe-contact plan lets anybody call."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Stale
from chassis.ids import new_id
from chassis.local_time import zone_of
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.callback import AGAIN, NOT_SAFE, Callback, Wish
from services.referrals.domain.contact import Contact
from services.referrals.domain.deadline import DeadlineKind
from services.referrals.store import callbacks, contacts
from services.referrals.store.people import People as Files
from services.referrals.usecases.deadlines import ClockFired, fire_each, with_one_clock

Hours = tuple[datetime, datetime]


class Callbacks:
    """One for a contact at a time."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def create(self, tx: Transaction, now: datetime, contact_id: str, wish: Wish) -> tuple[Callback, Contact, str]:
        """An operator agreed on it with the caller. Returned with its contact and her file."""
        contact = contacts.hold(tx, contact_id)
        contact.check_not_erased()
        person_id = self._check_plans(tx, contact)
        return self._owe(tx, now, contact, wish, [contact_id], by_herself=False), contact, person_id

    def ask(self, tx: Transaction, now: datetime, own: Sequence[Contact], people: Sequence[str], wish: Wish) -> None:
        """She asks for it herself, through the contacts that are hers: the last line that she called calls."""
        if not self.may_ask(tx, people, for_update=True):
            raise Conflict("call_not_safe")
        known = [contact for contact in own if contacts.people_of(tx, [contact])]
        self._owe(tx, now, known[-1], wish, [contact.id for contact in own], by_herself=True)

    def may_ask(self, tx: Transaction, people: Sequence[str], *, for_update: bool = False) -> bool:
        """Whether every file of hers says that she may be called."""
        return bool(people) and all(self._files.get(tx, person, for_update=for_update).may_be_called for person in people)

    def page(
        self, tx: Transaction, caller: Caller, limit: int, after: Position | None
    ) -> tuple[list[tuple[Callback, str, str]], Position | None]:
        """What the own line owes."""
        return callbacks.page(tx, caller.organization_id, limit, after)

    def settle(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, outcome_code: str, wish: Wish
    ) -> tuple[Callback, Contact, str]:
        """What came of it; `wish`: when it is tried again, if it is. Returned with its contact and her file."""
        contact = contacts.hold(tx, callbacks.contact_of(tx, identifier))  # contact, file, callback: in this order everybody takes turns
        person_id = next(iter(contacts.people_of(tx, [contact])), "")
        if outcome_code == AGAIN:
            self._check_plans(tx, contact)
        callback = callbacks.hold(tx, identifier)
        if callback.step_version != version:
            raise Stale
        if outcome_code == AGAIN:
            callback.try_again(now, _hours(contact, wish, now))
        else:
            callback.settle(now, outcome_code, caller.id)
        callbacks.keep(tx, callback, "changed" if outcome_code == AGAIN else "settled")
        return callback, contact, person_id

    def _check_plans(self, tx: Transaction, contact: Contact) -> str:
        """Her file at this line must say that she may be called, and none at another that she may not. Returns the former; empty where there is none."""
        own = contacts.people_of(tx, [contact])
        elevate_to_system_scope(tx)  # that nobody may call her is told to whoever might
        everywhere = contacts.people_of(tx, contacts.of_caller(tx, contact.tied_to_id or contact.id))
        for person_id in everywhere:
            person = self._files.get(tx, person_id, for_update=True)
            if person_id in own or person.safe_contact_channel:
                person.check_callable()
        return next(iter(own), "")

    @staticmethod
    def _owe(tx: Transaction, now: datetime, contact: Contact, wish: Wish, contact_ids: Sequence[str], *, by_herself: bool) -> Callback:
        hours = _hours(contact, wish, now)
        owed = callbacks.owed_to(tx, contact_ids)
        callback = owed[0] if owed else Callback.owed(new_id(), contact.id, contact.organization_id, now, hours, by_herself=by_herself)
        if owed:
            callback.move(now, hours, by_herself=by_herself)
        callbacks.keep(tx, callback, "asked" if by_herself else "changed")
        return callback


def _hours(contact: Contact, wish: Wish, now: datetime) -> Hours:
    """The hours that she named are those of the place that she called from."""
    return wish.hours(now, zone_of(contact.line_country, contact.department))


def end(tx: Transaction, now: datetime, owed: Sequence[Callback], worker_id: str = "") -> None:
    """Nobody calls any more: it is not safe, or she took everything back."""
    for callback in owed:
        callback.settle(now, NOT_SAFE, worker_id)
        callbacks.keep(tx, callback, "settled")


def fire_clocks(tx: Transaction, now: datetime, limit: int) -> list[ClockFired]:
    """Notes the clock levels that are reached; returns what was told."""
    fire = with_one_clock(
        DeadlineKind.CALLBACK, partial(callbacks.hold, tx), lambda callback: callback.fire_clock(now), partial(callbacks.keep, tx)
    )
    return fire_each(tx, now, "contacts", "callback_id", callbacks.due(tx, now, limit), fire, callbacks.put_aside)
