"""Handles the rpcs for consents: receipts, their confirmation by a second person, withdrawal."""

from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, moment, optional_id, page_size
from protos.referrals.v1 import people_pb2 as pb
from services.referrals.files.domain.consent import DEFAULT, Receipt
from services.referrals.files.store import emergencies
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.person_ids import PersonIds, ids_of
from services.referrals.files.store.receipts import Receipts
from services.referrals.files.wire.messages import receipt_message, receipt_values
from services.referrals.line.store import callbacks as callback_store
from services.referrals.line.usecases import callbacks
from services.referrals.network.domain.deadline import OVERRIDE_END
from services.referrals.plans.usecases.plans import Plans
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import referrals
from services.referrals.referrals.usecases.enquiries import cancel_waiting
from services.referrals.referrals.usecases.grants import check_may_override
from services.referrals.referrals.usecases.referral_changes import ReferralChanges
from services.referrals.referrals.wire.messages import actor_of


class Consents:
    """Handles the rpcs for consents, one method per rpc.

    Public methods with `tx` serve other use cases.
    """

    def __init__(
        self,
        files: Files,
        referral_changes: ReferralChanges,
        receipts: Receipts,
        plans: Plans,
        pages: PageTokens,
    ) -> None:
        self._files = files
        self._referral_changes = referral_changes
        self._receipts = receipts
        self._plans = plans
        self._pages = pages

    def CreateReceipt(self, request: pb.CreateReceiptRequest, call: Call) -> pb.Receipt:
        """Records a consent, for 90 days by default.

        If somebody else gives the consent for an adult, the default is 72 hours.
        """
        tx, caller, now, message = call.tx, call.caller, call.clock.now(), request.receipt
        until = moment(message, "until_time", "receipt.until_time")
        values = receipt_values(message)
        person_id = values["person_id"]
        self._files.lock(tx, person_id)
        person = self._files.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        receipt = Receipt(
            id=new_id(),
            organization_id=caller.organization_id,
            create_time=now,
            until_time=until or now + DEFAULT,
            recorded_by_worker_id=caller.id,
            circumstances=self._receipts.circumstances(
                tx, person_id, values["recipient_organization_id"]
            ),
            **values,
        )
        if receipt.in_her_stead:
            check_may_override(caller)
            receipt.until_time = until or now + OVERRIDE_END
        receipt.check()
        self._receipts.add(tx, receipt)
        return receipt_message(receipt, now)

    def ConfirmReceipt(self, request: pb.ConfirmReceiptRequest, call: Call) -> pb.Receipt:
        """Records the confirmation of a receipt by a second person at the file's organisation.

        The receipt must be a decision in a child's best interest, or a consent that somebody else
        gave for an adult.
        """
        now, receipt = call.clock.now(), self._lock_receipt(call.tx, object_id(request.id))
        if receipt.organization_id != call.caller.organization_id:
            raise NotFound
        if receipt.is_override:
            raise Conflict("nothing_to_confirm")  # an override needs ConfirmOverride
        receipt.confirm(call.caller, now)
        self._receipts.change(call.tx, receipt, "confirmed")
        call.trail.append(
            Entry("confirm_receipt", receipt.person_id, "", (f"receipt:{receipt.id}",))
        )
        return receipt_message(receipt, now)

    def ListReceipts(self, request: pb.ListReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        """Lists those receipts of a person that are visible in the caller's scope.

        If the request names a referral of this person, lists only the receipts on which the
        referral could be based.
        """
        tx = call.tx
        now = call.clock.now()
        referral_id = optional_id(request.referral_id, "referral_id")
        person_id = object_id(request.person_id)
        self._files.get(tx, person_id)
        receipts = self._receipts.of_person(tx, person_id)
        if referral_id:
            referral = referrals.get(tx, referral_id)
            if referral.person_id != person_id:
                raise NotFound
            used_by_others = self._plans.receipts_of_other_legs(tx, referral)
            receipts = [
                receipt
                for receipt in receipts
                if receipt.id not in used_by_others and referral.could_be_based_on(receipt, now)
            ]
        return pb.ListReceiptsResponse(
            receipts=[receipt_message(receipt, now) for receipt in receipts]
        )

    def ListProposedReceipts(
        self, request: pb.ListProposedReceiptsRequest, call: Call
    ) -> pb.ListReceiptsResponse:
        """Lists the receipts that a second person at the caller's organisation may confirm."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        now = call.clock.now()
        receipts, next_cursor = self._receipts.open_proposals(
            call.tx, call.caller.organization_id, now, size, after
        )
        return pb.ListReceiptsResponse(
            receipts=[receipt_message(receipt, now) for receipt in receipts],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def GetReceipt(self, request: pb.GetReceiptRequest, call: Call) -> pb.Receipt:
        """Returns one receipt that is visible in the caller's scope."""
        return receipt_message(self._receipts.get(call.tx, object_id(request.id)), call.clock.now())

    def WithdrawReceipt(self, request: pb.WithdrawReceiptRequest, call: Call) -> pb.Receipt:
        """Withdraws a receipt and ends what is based on it. A second call changes nothing.

        If no other receipt of the person is live, her plans and the waiting enquiries of the file's
        organisation end too.
        """
        now = call.clock.now()
        receipt = self._withdraw(
            call.tx, actor_of(call.caller), now, object_id(request.id), call.trail
        )
        return receipt_message(receipt, now)

    def _withdraw(
        self,
        tx: Transaction,
        actor: Actor,
        now: datetime,
        identifier: str,
        trail: list[Entry],
        *,
        only_referral_id: str = "",
    ) -> Receipt:
        """Withdraws a receipt and ends what is based on it; returns the receipt.

        `only_referral_id` is set if the person used her reference to stop a single referral, whose
        need the calling code closes. Her page promises that everything else continues, so her
        enquiries continue, even if this was her last consent.
        """
        receipt = self._lock_receipt(tx, identifier)
        if receipt.withdraw_time is not None:
            return receipt
        person_id = receipt.person_id
        # a recipient may withdraw this receipt for the person, but sees none of her other receipts
        elevate_to_system_scope(tx)
        referrals.lock_of_person(tx, person_id)  # before enquiries and contacts, as steps do
        other_receipts = [
            other
            for other in self._receipts.of_person(tx, person_id, for_update=True)
            if other.id != identifier
        ]
        # nobody else may continue to speak for an adult who has withdrawn a consent
        ended_receipts = [receipt] + [
            other
            for other in other_receipts
            if other.ends_with_any_withdrawal
            and other.withdraw_time is None
            and other.until_time > now
        ]
        for ended_receipt in ended_receipts:
            ended_receipt.withdraw(now)
            self._receipts.change(tx, ended_receipt, "withdrawn")
            trail.append(Entry("withdraw_consent", person_id, "", (f"receipt:{ended_receipt.id}",)))
        was_last = not any(other.is_live(now) for other in other_receipts)
        if was_last and not only_referral_id:
            contact_ids = ids_of(tx, person_id).sole_contact_ids
            cancel_waiting(tx, now, contact_ids, [person_id], receipt.organization_id)
        person_referrals = referrals.of_people(tx, [person_id])
        for ended_receipt in ended_receipts:
            referral_ids = [
                referral.id
                for referral in person_referrals
                if referral.receipt_id == ended_receipt.id
                # withdrawing the consent for one recipient ends no draft and no open need
                and (
                    referral.state in LIVE
                    or (referral.receiver_may_hold_data and referral.id != only_referral_id)
                )
            ]
            self._referral_changes.withdraw_consent(tx, actor, now, referral_ids, keeps_needs=True)
            self._end_emergencies(tx, now, person_id, ended_receipt.recipient_organization_id)
        if was_last:
            self._plans.close_on_withdrawal(tx, person_id, now)
        return receipt

    def WithdrawAllReceipts(
        self, request: pb.WithdrawAllReceiptsRequest, call: Call
    ) -> pb.ListReceiptsResponse:
        """Withdraws all receipts of a person, and ends everything requested for her."""
        tx, now, person_id = call.tx, call.clock.now(), object_id(request.id)
        if self._files.get(tx, person_id).organization_id != call.caller.organization_id:
            raise NotFound
        elevate_to_system_scope(tx)
        ids = ids_of(tx, person_id)
        self.withdraw_all(tx, actor_of(call.caller), now, ids, call.trail)
        return pb.ListReceiptsResponse(
            receipts=[
                receipt_message(receipt, now) for receipt in self._receipts.of_person(tx, person_id)
            ]
        )

    def withdraw_all(
        self, tx: Transaction, actor: Actor, now: datetime, ids: PersonIds, trail: list[Entry]
    ) -> None:
        """Withdraws all receipts in all files of one person, including overrides.

        Also ends everything requested for her. The person asked for this herself, through a worker
        or with her reference. Needs the scope of the whole service.
        """
        # locks in the same order as the steps of referrals: people, referrals, enquiries, contacts
        for person_id in ids.person_ids:
            self._files.lock(tx, person_id)
        for person_id in ids.person_ids:
            referrals.lock_of_person(tx, person_id)
        cancel_waiting(tx, now, ids.sole_contact_ids, ids.person_ids)
        for person_id in ids.person_ids:
            ended_receipts = self.end_all(tx, actor, now, person_id)
            trail.append(
                Entry(
                    "withdraw_consent",
                    person_id,
                    "",
                    tuple(f"receipt:{receipt.id}" for receipt in ended_receipts),
                )
            )
        contact_ids = {
            *ids.contact_ids,
            # a line may have promised her a callback under another of her references
            *(
                contact_id
                for person_id in ids.person_ids
                for contact_id in ids_of(tx, person_id).contact_ids
            ),
        }
        worker_id = actor.id if actor.kind == "worker" else ""
        callbacks.end(tx, now, callback_store.owed_to(tx, sorted(contact_ids)), worker_id)

    def end_all(
        self, tx: Transaction, actor: Actor, now: datetime, person_id: str
    ) -> list[Receipt]:
        """Withdraws all receipts of a person, and ends what is based on them; returns the receipts.

        Needs the scope of the whole service.
        """
        self._files.lock(tx, person_id)
        ended_receipts = [
            receipt
            for receipt in self._receipts.of_person(tx, person_id, for_update=True)
            if receipt.withdraw_time is None
        ]
        for receipt in ended_receipts:
            receipt.withdraw(now)
            self._receipts.change(tx, receipt, "withdrawn")
        self._end_emergencies(tx, now, person_id, "")
        self._referral_changes.withdraw_consent(
            tx,
            actor,
            now,
            [
                referral.id
                for referral in referrals.of_people(tx, [person_id])
                if referral.ends_with_consent
            ],
        )
        self._plans.close_on_withdrawal(tx, person_id, now)
        return ended_receipts

    def withdraw_for_referral(
        self,
        tx: Transaction,
        now: datetime,
        contact_id: str,
        referral: Referral,
        trail: list[Entry],
    ) -> None:
        """Ends one referral, its consent or override, and everything based on that consent.

        This is the person's own request, made with her reference.
        """
        actor = Actor("person", contact_id, "")
        if referral.receipt_id:
            self._withdraw(tx, actor, now, referral.receipt_id, trail, only_referral_id=referral.id)
        self._files.lock(tx, referral.person_id)
        self._referral_changes.withdraw_consent(tx, actor, now, [referral.id])

    @staticmethod
    def _end_emergencies(
        tx: Transaction, now: datetime, person_id: str, organization_id: str
    ) -> None:
        """Ends the emergency accesses to the data of a person who withdrew a consent.

        `organization_id` selects the accesses by one organisation; "" selects all. Once she
        has withdrawn her consent for an organisation, its emergency access must end too.
        """
        for emergency in emergencies.open_of_person(tx, person_id, organization_id):
            emergency.end(now)
            emergencies.change(tx, emergency, "ended", now)

    def _lock_receipt(self, tx: Transaction, identifier: str) -> Receipt:
        """Returns a receipt after locking its person and then the receipt itself."""
        self._files.lock(tx, self._receipts.get(tx, identifier).person_id)
        return self._receipts.get(tx, identifier, for_update=True)
