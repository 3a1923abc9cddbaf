"""Handles the rpcs for people's files, including the rpc that opens an identity."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotFound, Stale
from chassis.guesses import Guesses, Origin
from chassis.ids import new_id, object_id
from chassis.local_time import day_at
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import (
    Cursor,
    PageTokens,
    mask_names,
    moment,
    optional_id,
    page_size,
    timestamp,
    version,
    with_stored_parts,
    word,
    word_list,
)
from protos.referrals.v1 import people_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.names import searched_words
from services.referrals.files.domain.openings import READING
from services.referrals.files.domain.person import (
    GROUP_OF,
    NO_CONTACT,
    FieldGroup,
    Identity,
    Person,
    age_band,
)
from services.referrals.files.store.openings import exported_since, publish_export
from services.referrals.files.store.people import People as Files
from services.referrals.files.usecases.names import MAX_RESULTS
from services.referrals.files.usecases.openings import Openings
from services.referrals.files.wire.messages import (
    GROUPS,
    identity_message,
    person_message,
    read_coarse,
    read_identity,
    read_safe_contact,
    safe_contact_message,
)
from services.referrals.line.store import contacts
from services.referrals.line.usecases import callbacks
from services.referrals.network.domain.codes import Check, beginnings_of
from services.referrals.network.usecases.policies import Policies
from services.referrals.people.store import trail_rows
from services.referrals.referrals.store import referrals, renewals
from services.referrals.referrals.usecases.grants import (
    Grants,
    check_may_know_people,
    check_not_overseeing,
)

_GROUPS = frozenset(group.value for group in FieldGroup)
_CORRECTABLE: dict[str, Callable[[pb.Person], Any]] = {
    "coarse": lambda person: read_coarse(person.coarse, "person.coarse"),
    "trafficking_status_code": lambda person: word(
        pb.TraffickingStatus, person.trafficking_status_code, "person.trafficking_status_code"
    ),
    "exploitation_country": lambda person: person.exploitation_country,
}
"""The fields that UpdatePerson may change, with the function that parses each."""


class People:
    """Handles the rpcs for files, one method per rpc."""

    def __init__(
        self,
        files: Files,
        grants: Grants,
        openings: Openings,
        policies: Policies,
        searches: Guesses,
        pages: PageTokens,
    ) -> None:
        self._files = files
        self._grants = grants
        self._openings = openings
        self._policies = policies
        self._searches = searches
        self._pages = pages

    def CreatePerson(self, request: pb.CreatePersonRequest, call: Call) -> pb.Person:
        """Creates a file; if the request has a birth date, the age band follows from that date.

        If the request names a contact, links the contact to the file. If the contact has a file
        already, returns that file, so that simultaneous requests create only one.
        """
        tx, contact_id = call.tx, optional_id(request.contact_id, "contact_id")
        now = call.clock.now()
        identity = read_identity(request.identity)
        coarse = read_coarse(request.coarse)
        plan = read_safe_contact(request.safe_contact) if request.HasField("safe_contact") else None
        today = day_at(now, coarse.country, coarse.department)
        identity.check(today)
        contact = contacts.lock(tx, contact_id) if contact_id else None
        if contact is not None:
            contact.check_not_erased()
            if contact.person_id:
                return _with_outline(self._files.get(tx, contact.person_id))
        person = Person(
            new_id(),
            call.caller.organization_id,
            replace(coarse, age_band=age_band(identity.birth_date, today) or coarse.age_band),
            now,
            now,
            trafficking_status_code=word(
                pb.TraffickingStatus, request.trafficking_status_code, "trafficking_status_code"
            ),
            exploitation_country=request.exploitation_country,
            has_identity=identity.known,
            safe_contact_channel=plan.channel_code if plan else "",
            message_may_be_left=plan is not None and plan.message_may_be_left,
        )
        self._files.add(tx, person, identity, plan)
        if contact is not None:
            contact.person_id = person.id
            contact.change(
                now, self._policies.calendar(tx, contact.line_country, contact.department)
            )
            contacts.save(tx, contact, "changed")
            callbacks.end_forbidden(tx, now, person, call.caller.id)
        return person_message(person, plan)

    def GetPerson(self, request: pb.GetPersonRequest, call: Call) -> pb.Person:
        """Returns a file without the identity.

        The file's organisation also gets the safe-contact plan, and the codes about what happened
        to the person. The outline of the plan is not sealed, so reading only the outline does not
        count as an access.
        """
        person = self._files.get(call.tx, object_id(request.id))
        if person.organization_id != call.caller.organization_id:
            return person_message(
                replace(person, trafficking_status_code="", exploitation_country="")
            )
        if person.erased:
            return person_message(person)
        if request.outline_only:
            return _with_outline(person)
        plan = self._files.safe_contact(call.tx, Grant.of_file(person, call.caller.organization_id))
        if plan is not None:
            call.trail.append(
                Entry("read_safe_contact", person.id, "", (FieldGroup.CONTACT.value,))
            )
            check_not_overseeing(call.caller)
            self._openings.admit(call.tx, call.caller, call.clock.now(), person.id)
        return person_message(person, plan)

    def ListPeople(self, request: pb.ListPeopleRequest, call: Call) -> pb.ListPeopleResponse:
        """Lists the files of the caller's organisation, newest first."""
        if request.code and not beginnings_of(request.code):
            raise Invalid(("code", "malformed"))
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        people, next_cursor = self._files.page(
            call.tx, call.caller.organization_id, size, after, code=request.code
        )
        return pb.ListPeopleResponse(
            people=[person_message(person) for person in people],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def SearchPeople(self, request: pb.SearchPeopleRequest, call: Call) -> pb.SearchPeopleResponse:
        """Searches the files of the caller's organisation for all words of a name.

        The newest come first; `incomplete` says whether there are more. Every search counts towards
        the caller's limit, whether it finds a file or not.
        """
        tx, caller = call.tx, call.caller
        call.trail.append(Entry("search_people", caller.organization_id))
        check_may_know_people(tx, caller)
        self._searches.count(caller.id, Origin(), call.clock.now())
        people = self._files.find_by_words(
            tx, caller.organization_id, searched_words(request.name), MAX_RESULTS + 1
        )
        call.trail.extend(Entry("search_people", person.id) for person in people[:MAX_RESULTS])
        messages = [person_message(person) for person in people[:MAX_RESULTS]]
        return pb.SearchPeopleResponse(people=messages, incomplete=len(people) > MAX_RESULTS)

    def UpdatePerson(self, request: pb.UpdatePersonRequest, call: Call) -> pb.Person:
        """Corrects the unsealed data of a file.

        The identity is opened only for the birth date, from which the age band follows. If it can't
        be opened, it stays as it is, and its birth date counts as unknown.
        """
        tx, now, requested = call.tx, call.clock.now(), request.person
        person = self._changeable_person(
            tx, call.caller, object_id(requested.id), version(requested.etag, "person.etag")
        )
        completed, mask = with_stored_parts(requested, person_message(person), request.update_mask)
        changes = {path: _CORRECTABLE[path](completed) for path in mask_names(mask, _CORRECTABLE)}
        coarse = changes.get("coarse", person.coarse)
        identity = self._files.readable_identity(
            tx, Grant.of_file(person, call.caller.organization_id)
        )
        person.correct(
            changes,
            identity.birth_date if identity else "",
            now,
            day_at(now, coarse.country, coarse.department),
        )
        self._files.change(tx, person, identity=identity)
        return _with_outline(person)

    def UpdateIdentity(self, request: pb.UpdateIdentityRequest, call: Call) -> pb.Person:
        """Completes, corrects or clears fields of an identity; the trail records their names.

        Without a mask, these are the fields that are not empty. Refuses a request that names none.
        """
        tx, now, newer_identity = call.tx, call.clock.now(), read_identity(request.identity)
        acknowledged_codes = word_list(
            referrals_pb2.Acknowledgement, request.acknowledged_codes, "acknowledged_codes"
        )
        names = newer_identity.known_fields
        if request.update_mask.paths:
            names = mask_names(request.update_mask, GROUP_OF)
        if not names:
            raise Invalid(("identity", "required"))
        newer_identity = Identity().with_fields(newer_identity, names)
        identifier = object_id(request.id)
        # locked before her rows, in the same order as in an erasure
        self._files.lock(tx, identifier)
        person = self._changeable_person(tx, call.caller, identifier, version(request.etag))
        today = day_at(now, person.coarse.country, person.coarse.department)
        newer_identity.check(today)
        former = self._files.identity(tx, Grant.of_file(person, call.caller.organization_id))
        identity = former.with_fields(newer_identity, names)
        person.apply_identity(identity, now, today, former, acknowledged_codes)
        self._files.change(tx, person, identity=identity)
        if newer_identity.birth_date:
            renewals.check_again(tx, person.id, now)
        cleared_names = names - newer_identity.known_fields
        details = [f"cleared:{name}" if name in cleared_names else name for name in sorted(names)]
        details += [f"acknowledged:{code}" for code in acknowledged_codes]
        call.trail.append(Entry("update_identity", person.id, "", tuple(details)))
        return _with_outline(person)

    def OpenPerson(self, request: pb.OpenPersonRequest, call: Call) -> pb.Identity:
        """Returns the opened fields of an identity, and the field groups that are fully opened.

        The access is recorded first, so that refusals are on the trail as well, even refusals
        to callers from whom the file is hidden.
        """
        tx, caller, now, purpose = call.tx, call.caller, call.clock.now(), request.purpose_code
        groups = frozenset(GROUPS.members(request.field_groups, "field_groups"))
        identifier = object_id(request.id)
        referral_id = optional_id(request.referral_id, "referral_id")
        check = Check()
        check.need("purpose_code", purpose, required=True)
        check.done()
        call.trail.append(
            Entry(
                "open_identity", identifier, purpose, tuple(sorted(group.value for group in groups))
            )
        )
        grant = self._grants.of_person(tx, caller, now, identifier, purpose, groups, referral_id)
        call.trail[-1] = replace(
            call.trail[-1], detail_codes=call.trail[-1].detail_codes + grant.basis
        )
        self._openings.admit(tx, caller, now, identifier)
        identity = self._files.identity(tx, grant).only(groups)
        return identity_message(identity, frozenset() if grant.first_name_only else groups)

    def SetSafeContact(self, request: pb.SetSafeContactRequest, call: Call) -> pb.Person:
        """Stores how the person may be contacted."""
        tx, now, plan = call.tx, call.clock.now(), read_safe_contact(request.safe_contact)
        person = self._changeable_person(
            tx, call.caller, object_id(request.id), version(request.etag)
        )
        person.plan_contact(plan, now)
        self._files.change(tx, person, plan=plan)
        callbacks.end_forbidden(tx, now, person, call.caller.id)
        return person_message(person, plan)

    def GetSafeContact(self, request: pb.GetSafeContactRequest, call: Call) -> pb.SafeContact:
        """Returns the unsealed parts of the safe-contact plan for a referral's person.

        If the plan forbids every contact, each party of the referral may learn this even without a
        receipt, since knowing it keeps her safe and reveals nothing else about her.
        """
        referral = referrals.get(call.tx, object_id(request.referral_id))
        person = self._grants.person_for_party(call.tx, call.caller, referral)
        plan = person.contact_outline()
        if plan.channel_code != NO_CONTACT:
            self._grants.of_contact_data(call.tx, call.caller, call.clock.now(), referral, person)
        return safe_contact_message(plan)

    def OpenSafeContact(self, request: pb.OpenSafeContactRequest, call: Call) -> pb.SafeContact:
        """Returns the whole safe-contact plan.

        The access is recorded first, as when an identity is opened.
        """
        tx, caller, now, trail = call.tx, call.caller, call.clock.now(), call.trail
        referral = referrals.get(tx, object_id(request.referral_id))
        details = (FieldGroup.CONTACT.value, f"referral:{referral.id}")
        trail.append(Entry("read_safe_contact", referral.person_id, referral.need_code, details))
        person = self._grants.person_for_party(tx, caller, referral)
        check_not_overseeing(caller)
        grant = self._grants.of_contact_data(tx, caller, now, referral, person)
        trail[-1] = replace(trail[-1], detail_codes=trail[-1].detail_codes + grant.basis)
        plan = self._files.safe_contact(tx, grant)
        if plan is None:
            raise Conflict("safe_contact_missing")
        self._openings.admit(tx, caller, now, person.id)
        return safe_contact_message(plan)

    def ListReadings(self, request: pb.ListReadingsRequest, call: Call) -> pb.ListReadingsResponse:
        """Lists the accesses to a file of the caller's organisation, newest first.

        Equal accesses by one worker within a clock hour are listed once; every refusal is listed.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, int)
        person_id = object_id(request.person_id)
        self._check_own(call.tx, call.caller, person_id)
        rows = trail_rows.accesses(
            call.tx, person_id, READING, limit=size + 1, before=int(after[0]) if after else None
        )
        next_cursor: Cursor | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListReadingsResponse(
            readings=map(_reading, rows[:size]),
            next_page_token=self._pages.token(request, next_cursor),
        )

    def ExportPerson(self, request: pb.ExportPersonRequest, call: Call) -> pb.ExportPersonResponse:
        """Publishes the fact that a person's data sheet is exported; exports nothing itself.

        Raises NotFound for files of other organisations.
        """
        person_id, caller = object_id(request.id), call.caller
        self._check_own(call.tx, caller, person_id)
        worker_id = caller.id if caller.kind == "worker" else ""
        publish_export(
            call.tx, new_id(), person_id, caller.organization_id, worker_id, call.clock.now()
        )
        return pb.ExportPersonResponse()

    def ListOwnExports(
        self, request: pb.ListOwnExportsRequest, call: Call
    ) -> pb.ListOwnExportsResponse:
        """Lists the caller's own exports since a time, newest first."""
        since = moment(request, "since_time")
        if since is None:
            raise Invalid(("since_time", "required"))
        size = page_size(request.page_size, default=200, maximum=200)
        after = self._pages.cursor(request, int)
        rows = exported_since(
            call.tx, call.caller.id, since, size + 1, int(after[0]) if after else None
        )
        call.trail.append(Entry("list_own_exports", call.caller.id))
        exports = [
            pb.Export(person_id=row["object_id"], time=timestamp(row["time"]))
            for row in rows[:size]
        ]
        next_cursor: Cursor | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListOwnExportsResponse(
            exports=exports, next_page_token=self._pages.token(request, next_cursor)
        )

    def _check_own(self, tx: Transaction, caller: Caller, person_id: str) -> None:
        if self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound

    def _changeable_person(
        self, tx: Transaction, caller: Caller, identifier: str, version: int
    ) -> Person:
        person = self._files.get(tx, identifier, for_update=True)
        if person.organization_id != caller.organization_id:
            raise NotFound
        if person.version != version:
            raise Stale
        person.check_not_erased()
        return person


def _with_outline(person: Person) -> pb.Person:
    """Returns a file with the part of its safe-contact plan that is not sealed."""
    return person_message(person, person.contact_outline() if person.safe_contact_channel else None)


def _reading(row: dict[str, Any]) -> pb.Reading:
    return pb.Reading(
        time=timestamp(row["time"]),
        organization_id=row["organization_id"],
        actor_id=row["actor_id"],
        purpose_code=row["purpose_code"],
        field_groups=sorted(
            GROUPS.number(FieldGroup(code)) for code in row["detail_codes"] if code in _GROUPS
        ),
        allowed=row["allowed"],
    )
