"""Erasures of files: rpcs for the two people who decide, and the repetition after a restore."""

from dataclasses import replace
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, page_size
from protos.referrals.v1 import erasures_pb2 as pb
from services.referrals.files.domain.person import Person
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.person_ids import ids_of
from services.referrals.line.store import callbacks as callback_store
from services.referrals.line.usecases import callbacks
from services.referrals.line.usecases.contacts import Contacts
from services.referrals.people.domain.erasure import PROPOSED_FOR, Erasure
from services.referrals.people.store import erasures
from services.referrals.people.usecases.consents import Consents
from services.referrals.people.wire.messages import erasure_message
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.store import referrals
from services.referrals.referrals.usecases.enquiries import cancel_waiting
from services.referrals.referrals.usecases.referral_changes import ReferralChanges
from services.referrals.referrals.wire.messages import actor_of


class ErasureRpcs:
    """Handles the rpcs for erasures, one method per rpc; the service itself calls `erase_again`."""

    def __init__(
        self,
        files: Files,
        consents: Consents,
        referral_changes: ReferralChanges,
        contacts: Contacts,
        pages: PageTokens,
    ) -> None:
        self._pages = pages
        self._files = files
        self._contacts = contacts
        self._consents = consents
        self._referral_changes = referral_changes

    def ProposeErasure(self, request: pb.ProposeErasureRequest, call: Call) -> pb.Erasure:
        """Proposes the erasure of a file; nothing changes yet."""
        tx = call.tx
        caller = call.caller
        now = call.clock.now()
        person_id = object_id(request.person_id)
        self._files.lock(tx, person_id)
        person = self._own_file(tx, caller, person_id)
        person.check_not_erased()
        erasure = erasures.of_person(tx, person_id, for_update=True)
        if erasure is None:
            erasure = Erasure(new_id(), person.id, person.organization_id, caller.id, now)
        else:
            erasure.propose_again(caller.id, now)
        erasures.save(tx, erasure, "proposed")
        call.trail.append(Entry("propose_erasure", person_id, "", (f"erasure:{erasure.id}",)))
        return erasure_message(erasure, now)

    def ConfirmErasure(self, request: pb.ConfirmErasureRequest, call: Call) -> pb.Erasure:
        """Records a second person's confirmation, and erases the file in the same transaction."""
        tx = call.tx
        caller = call.caller
        now = call.clock.now()
        person_id = object_id(request.person_id)
        person = self._own_file(tx, caller, person_id)
        erasure = erasures.of_person(tx, person_id)
        if erasure is None:
            raise Conflict("nothing_to_confirm")
        call.trail.append(Entry("confirm_erasure", person_id, "", (f"erasure:{erasure.id}",)))
        elevate_to_system_scope(tx)
        self._lock_and_stop_asking(tx, now, person_id)
        erasure = erasures.of_person(tx, person_id, for_update=True) or erasure
        erasure.confirm(caller, now)
        self._destroy(tx, now, actor_of(caller), person, erasure)
        return erasure_message(erasure, now)

    def GetErasure(self, request: pb.GetErasureRequest, call: Call) -> pb.Erasure:
        """Returns the proposal or the proof of an erasure to the file's organisation.

        An erasure can be read even if this store is a restored copy that never had the file.
        """
        erasure = erasures.of_person(call.tx, object_id(request.person_id))
        if erasure is None or erasure.organization_id != call.caller.organization_id:
            raise NotFound
        return erasure_message(erasure, call.clock.now())

    def ListErasures(self, request: pb.ListErasuresRequest, call: Call) -> pb.ListErasuresResponse:
        """Lists the proposals that a second person of the caller's organisation may confirm."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        now = call.clock.now()
        proposals, next_cursor = erasures.open_proposals(
            call.tx, call.caller.organization_id, now - PROPOSED_FOR, size, after
        )
        return pb.ListErasuresResponse(
            erasures=[erasure_message(erasure, now) for erasure in proposals],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def erase_again(self, tx: Transaction, now: datetime, known_erasure: Erasure) -> bool:
        """Erases a file after a restore; returns False if it is erased already or does not exist.

        Needs the scope of the whole service.
        """
        self._lock_and_stop_asking(tx, now, known_erasure.person_id)
        stored_erasure = erasures.of_person(tx, known_erasure.person_id, for_update=True)
        if stored_erasure and stored_erasure.erase_time is not None:
            return False
        # If the stored erasure has a different id, it was proposed after the restore. The file is
        # then erased under that id.
        erasure = replace(
            known_erasure,
            id=stored_erasure.id if stored_erasure else known_erasure.id,
            version=stored_erasure.version + 1 if stored_erasure else 1,
        )
        try:
            person = self._files.get(tx, known_erasure.person_id)
        except NotFound:
            erasures.save(tx, erasure, "done")
            return False
        self._destroy(tx, now, Actor("system", "erasures", person.organization_id), person, erasure)
        return True

    def _lock_and_stop_asking(self, tx: Transaction, now: datetime, person_id: str) -> None:
        """Locks the person, her referrals and her waiting enquiries, and cancels these enquiries.

        Steps of referrals lock in the same order. Contacts are locked last.
        """
        self._files.lock(tx, person_id)
        referrals.lock_of_person(tx, person_id)
        cancel_waiting(tx, now, ids_of(tx, person_id).sole_contact_ids, [person_id])

    def _destroy(
        self, tx: Transaction, now: datetime, actor: Actor, person: Person, erasure: Erasure
    ) -> None:
        ids = ids_of(tx, person.id)
        live_count = len(referrals.live_of_person(tx, person.id))
        receipts = self._consents.end_all(tx, actor, now, person.id)
        for contact_id in ids.sole_contact_ids:
            self._contacts.erase(tx, now, contact_id)
        # waits for a change to the file, whose new rows would otherwise stay
        self._files.get(tx, person.id, for_update=True)
        # after the contacts, so that no line agrees on a call later
        callbacks.end(tx, now, callback_store.owed_to(tx, ids.contact_ids))
        # cancels enquiries made after the first cancellation and before the contact was closed
        cancel_waiting(tx, now, ids.sole_contact_ids, [person.id])
        counts = erasures.destroy(tx, ids, now)
        erasure.destroyed_counts = replace(counts, receipts=len(receipts), referrals=live_count)
        erasures.save(tx, erasure, "done")

    def _own_file(self, tx: Transaction, caller: Caller, person_id: str) -> Person:
        person = self._files.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        return person
