"""Grants: the data about a person that a caller may open now.

A grant is based on the person's file, on a receipt or on an emergency access.
"""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.second import refusal
from chassis.tokens import Caller
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup, Person
from services.referrals.files.store import emergencies
from services.referrals.files.store.people import People
from services.referrals.files.store.receipts import Receipts
from services.referrals.network.domain import codes
from services.referrals.network.store import members
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import referrals


class Grants:
    """Decides what callers may open. Every method runs in the transaction `tx` and its scope."""

    def __init__(self, people: People, receipts: Receipts) -> None:
        self._people = people
        self._receipts = receipts

    def of_person(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        person_id: str,
        purpose: str,
        groups: frozenset[FieldGroup],
        referral_id: str,
    ) -> Grant:
        """Returns the grant for these field groups of a person, or refuses all of them.

        The caller must have the right to work with people. The organisation that holds the file
        needs nothing else. The receiver of a live referral needs a receipt for that referral that
        covers the groups, or else an emergency access by the caller that opens the groups. Raises
        NotFound, NotAllowed, Conflict or Invalid.
        """
        check_may_open_people(tx, caller)
        person = self._people.get(tx, person_id)
        if person.organization_id == caller.organization_id:
            person.check_not_erased()
            return Grant.of_file(person, caller.organization_id)
        if not referral_id:
            raise Invalid(("referral_id", "required"))
        referral = referrals.get(tx, referral_id)
        if referral.person_id != person.id or not _receives(caller, referral):
            raise NotFound
        person.check_not_erased()
        try:
            grant = self._of_receipt(tx, caller, now, referral, purpose, groups)
        except Conflict:
            emergency = emergencies.live_of(tx, caller.id, referral.id, now)
            if emergency is None:
                raise
            check_reachable_without_consent(tx, caller.organization_id)
            grant = emergency.grant_for(caller.id, groups, now)
        if grant.person_id != person.id:
            raise Conflict("receipt_missing")
        return grant

    def _of_receipt(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        referral: Referral,
        purpose: str,
        groups: frozenset[FieldGroup],
    ) -> Grant:
        if not referral.receipt_id:
            raise Conflict("receipt_missing")
        receipt = self._receipts.get(tx, referral.receipt_id)
        if receipt.is_override:
            check_reachable_without_consent(tx, caller.organization_id)
        return receipt.grant_for(caller.organization_id, purpose, groups, now)

    def receipt_opens_file(
        self, tx: Transaction, caller: Caller, now: datetime, referral: Referral
    ) -> bool:
        """Returns whether the referral's receipt opens more of the file than the first name.

        The purpose is the need of the referral.
        """
        try:
            grant = self._of_receipt(tx, caller, now, referral, referral.need_code, frozenset())
        except Conflict:
            return False
        return not grant.first_name_only

    def of_contact_data(
        self, tx: Transaction, caller: Caller, now: datetime, referral: Referral, person: Person
    ) -> Grant:
        """Returns the grant for the person's contact data, for the need of this referral.

        The organisation that holds her file needs no receipt.
        """
        if person.organization_id == caller.organization_id:
            return Grant.of_file(person, caller.organization_id)
        return self.of_person(
            tx,
            caller,
            now,
            referral.person_id,
            referral.need_code,
            frozenset({FieldGroup.CONTACT}),
            referral.id,
        )

    def person_for_party(self, tx: Transaction, caller: Caller, referral: Referral) -> Person:
        """Returns the person of a referral.

        The caller's organisation must hold the person's file, or be the receiver while the referral
        is live. Raises NotFound for any other caller.
        """
        person = self._people.get(tx, referral.person_id)
        if person.organization_id != caller.organization_id and not _receives(caller, referral):
            raise NotFound
        person.check_not_erased()
        return person


def check_may_override(caller: Caller) -> None:
    """Refuses callers without the right to act for a person without her consent."""
    if not caller.has("EMERGENCY") and "referrals.override" not in caller.scopes:
        raise NotAllowed("right_missing")


def check_reachable_without_consent(tx: Transaction, organization_id: str) -> None:
    """Refuses an organisation that may have the power to detain, charge or expel the person.

    Such an organisation, or one of an unknown kind, has access only on a consent that names it,
    never on an override or in an emergency.
    """
    if members.organization(tx, organization_id)[1] not in codes.REACHED_BY_OVERRIDE:
        raise Conflict("receipt_missing")


def check_after_withdrawal(
    tx: Transaction, caller: Caller, referral: Referral, reason: str, field: str
) -> None:
    """Refuses new access for a receiver from which the person withdrew her consent.

    The only exception is a danger that has arisen since then, declared by a worker who sent none of
    the earlier referrals. Raises Conflict, or Invalid if such a danger is declared although nothing
    was withdrawn.
    """
    earlier_sender_ids = referrals.senders_before_withdrawal(
        tx, referral.person_id, referral.receiver_organization_id
    )
    if earlier_sender_ids and (
        reason != "danger_after_withdrawal"
        or any(refusal(caller, sender_id) for sender_id in earlier_sender_ids)
    ):
        raise Conflict("override_after_withdrawal")
    if reason == "danger_after_withdrawal" and not earlier_sender_ids:
        raise Invalid((field, "unknown_code"))  # nothing was withdrawn


def _receives(caller: Caller, referral: Referral) -> bool:
    return referral.receiver_organization_id == caller.organization_id and referral.state in LIVE


def check_may_open_people(tx: Transaction, caller: Caller) -> None:
    """Refuses callers who do not work with people, or who may not know who a person is."""
    if not (caller.has("WORKER") or caller.has("OPERATOR") or "people.open" in caller.scopes):
        raise NotAllowed("right_missing")
    check_may_know_people(tx, caller)


def check_not_overseeing(caller: Caller) -> None:
    """Refuses coordinators and auditors, who read nothing sealed of a file.

    Another role of the same account does not change that.
    """
    if caller.has("COORDINATOR") or caller.has("AUDITOR"):
        raise NotAllowed("right_missing")


def check_may_know_people(tx: Transaction, caller: Caller) -> None:
    """Refuses coordinators, auditors and members on probation, who never learn who a person is."""
    check_not_overseeing(caller)
    if members.on_probation(tx, caller.organization_id):
        raise NotAllowed("member_on_probation")
