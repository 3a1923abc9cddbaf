"""Handles the rpcs for referrals, such as drafts, lists and histories; steps.py has the steps."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.streams import Stream
from chassis.tokens import Caller
from chassis.wire import PageTokens, ResumeTokens, WatchTokens, optional_id, page_size, version
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup, Person
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.files.store.people import People
from services.referrals.files.store.receipts import Receipts
from services.referrals.files.usecases.openings import Openings
from services.referrals.line.store import contacts
from services.referrals.line.usecases import callbacks
from services.referrals.network.domain.deadline import Calendar, recent_assault_time
from services.referrals.network.store import members
from services.referrals.network.usecases.policies import Policies
from services.referrals.referrals.domain.draft import Draft
from services.referrals.referrals.domain.enquiry import BY_ASKER, Enquiry
from services.referrals.referrals.domain.lifecycle import Side
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import boxes, enquiries, referrals
from services.referrals.referrals.usecases.grants import Grants
from services.referrals.referrals.usecases.legs import Legs
from services.referrals.referrals.usecases.referral_changes import ReferralChanges
from services.referrals.referrals.usecases.steps import Steps
from services.referrals.referrals.usecases.watch import Watch
from services.referrals.referrals.wire.messages import (
    actor_of,
    change_message,
    event_message,
    referral_message,
)
from services.referrals.referrals.wire.referrals import (
    changed_draft,
    filter,
    new_draft,
    policy_message,
    spans,
)

_AND_NETWORK = "+network"
# The maximum number of seconds that a stream waits for an event before it checks whether its caller
# is still connected and still allowed.
_MAX_WAIT = 0.5
MOST_TEXT = 3_000_000
"""The maximum number of bytes of the notes in a history: that many fit into an answer of 4 MiB."""


class Referrals(Steps):
    """Handles the rpcs for referrals, one method per rpc."""

    def __init__(
        self,
        people: People,
        grants: Grants,
        receipts: Receipts,
        legs: Legs,
        policies: Policies,
        openings: Openings,
        referral_changes: ReferralChanges,
        watch: Watch,
        pages: PageTokens,
        watch_tokens: WatchTokens,
        resume_tokens: ResumeTokens,
    ) -> None:
        super().__init__(people, receipts, legs, referral_changes)
        self._grants = grants
        self._policies = policies
        self._openings = openings
        self._watch = watch
        self._pages = pages
        self._watch_tokens = watch_tokens
        self._resume_tokens = resume_tokens

    def CreateReferral(self, request: pb.CreateReferralRequest, call: Call) -> pb.Referral:
        """Opens a draft for a person of the caller's own organisation.

        If the draft is based on an enquiry, fields that the request does not set are taken from the
        enquiry and its accepted offer. If two workers at once begin to look for another service,
        both get the first draft.
        """
        tx, caller, now, draft = call.tx, call.caller, call.clock.now(), new_draft(request)
        based_on_id = optional_id(request.based_on_id, "based_on_id")
        person_id = object_id(request.person_id)
        enquiry_id = optional_id(request.enquiry_id, "enquiry_id")
        # so that no copy of the person's coarse data is made while her file is being erased
        self._people.lock(tx, person_id)
        calendar_at = self._policies.calendars(tx)  # shares a round trip with the person
        person = self._people.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        members.check_organizations(tx, request.unsafe_organization_ids, "unsafe_organization_ids")
        earlier = referrals.get(tx, based_on_id) if based_on_id else None
        enquiry = _enquiry_of(tx, enquiry_id, person_id) if enquiry_id else None
        actor = actor_of(caller)
        if enquiry is None and earlier is not None and draft.only_repeats(earlier, person_id):
            return referral_message(referrals.get(tx, earlier.following_id), actor, now)
        calendar = calendar_at(person.coarse.country, person.coarse.department)
        referral = Referral.draft(
            new_id(), actor, person.id, person.coarse, now, calendar, based_on_id=based_on_id
        )
        urgency_checked = enquiry is not None and draft.urgency is None
        if (
            earlier is not None
            and draft.urgency is earlier.urgency
            and (draft.contact_id or "") == earlier.contact_id
        ):
            urgency_checked, referral.urgency_reason_code = True, earlier.urgency_reason_code
            answered_urgency = contacts.urgency_of(tx, earlier.contact_id)
            draft = replace(draft, urgency=earlier.following_urgency(answered_urgency))
        if (
            earlier is not None
            and earlier.sender_organization_id == caller.organization_id
            and earlier.person_id == person_id
        ):
            draft = replace(draft, assault_time=draft.assault_time or earlier.recent_assault(now))
            referral.unsafe = earlier.unsafe
        if enquiry is not None:
            referral.unsafe = enquiry.unsafe
            if urgency_checked:
                referral.urgency_reason_code = enquiry.urgency_reason_code
            enquiry.refer(referral.id, person.id, now)
            draft = draft.from_enquiry(enquiry)
            if draft.service_id != enquiry.taken_service_id:
                enquiry.withdraw(now, BY_ASKER)
            enquiries.save(tx, enquiry)
        if draft != Draft():
            self._change_draft(
                tx,
                referral,
                actor,
                now,
                draft,
                calendar_at,
                person=person,
                urgency_checked=urgency_checked,
            )
        referrals.save(tx, referral, None)
        self._referral_changes.update_contacts(tx, now, referral.contact_id)
        if referral.contact_id:
            person = self._people.get(tx, person_id, for_update=True)
            callbacks.end_forbidden(tx, now, person, caller.id)
        return referral_message(referral, actor, now)

    def UpdateReferral(self, request: pb.UpdateReferralRequest, call: Call) -> pb.Referral:
        """Changes a draft."""
        draft, now, actor = changed_draft(request), call.clock.now(), actor_of(call.caller)
        referral, calendar_at = self._referral_changes.lock_with_calendars(
            call.tx, object_id(request.referral.id), version(request.referral.etag, "referral.etag")
        )
        if Side.SENDER not in referral.sides(actor):
            raise NotFound
        if draft.unsafe_organization_ids:
            members.check_organizations(
                call.tx,
                request.referral.unsafe_organization_ids,
                "referral.unsafe_organization_ids",
            )
        contact_id, service_id = referral.contact_id, referral.service_id
        self._change_draft(call.tx, referral, actor, now, draft, calendar_at)
        referrals.save(call.tx, referral, None)
        if referral.service_id not in ("", service_id):
            self._referral_changes.release_offer(call.tx, now, referral)
        if referral.contact_id != contact_id:
            self._referral_changes.update_contacts(call.tx, now, contact_id, referral.contact_id)
            person = self._people.get(call.tx, referral.person_id, for_update=True)
            callbacks.end_forbidden(call.tx, now, person, call.caller.id)
        return referral_message(referral, actor, now)

    def GetReferral(self, request: pb.GetReferralRequest, call: Call) -> pb.Referral:
        """Returns a referral; for a leg of a hand-over, also the legs that the caller may see."""
        referral, now = referrals.get(call.tx, object_id(request.id)), call.clock.now()
        return referral_message(
            referral, actor_of(call.caller), now, self._legs_of(call, now, referral)
        )

    def ListReferrals(
        self, request: pb.ListReferralsRequest, call: Call
    ) -> pb.ListReferralsResponse:
        """Lists referrals, a page at a time."""
        if request.order_by not in pb.Order.values():
            raise Invalid(("order_by", "unknown_code"))
        by_urgency = request.order_by == pb.ORDER_URGENCY
        size = page_size(request.page_size, default=50, maximum=200)
        now = call.clock.now()
        after = self._pages.cursor(request, *([int] if by_urgency else []), str, str, str)
        page, next_cursor = boxes.find(
            call.tx, filter(request.filter, call.caller, now), size, after, by_urgency=by_urgency
        )
        return pb.ListReferralsResponse(
            referrals=[referral_message(referral, actor_of(call.caller), now) for referral in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def CountReferrals(
        self, request: pb.CountReferralsRequest, call: Call
    ) -> pb.CountReferralsResponse:
        """Counts referrals, for the Today page and for the board."""
        row = boxes.count(call.tx, filter(request.filter, call.caller, call.clock.now()))
        return pb.CountReferralsResponse(
            late=row["late"],
            due_soon=row["due_soon"],
            waiting_for_me=row["waiting_for_me"],
            waiting_for_other=row["waiting_for_other"],
            fresh=row["fresh"],
            total=row["total"],
            by_state=row["by_state"],
            live_by_need_group=row["by_need"],
            live_by_department=row["by_department"],
            unanswered=[
                pb.UnansweredNeed(need_group_code=need, department=department, count=n)
                for need, department, n in row["unanswered"]
            ],
        )

    def GetQueueVersion(self, request: pb.GetQueueVersionRequest, call: Call) -> pb.QueueVersion:
        """Returns a string that changes with the caller's lists, and a token to watch it with."""
        scope = _queue_scope(call.caller)
        version = _queue_versions(call.tx, [scope])[scope]
        return pb.QueueVersion(
            version=version, watch_token=self._watch_tokens.token(scope, call.clock.now())
        )

    def BatchGetQueueVersions(
        self, request: pb.BatchGetQueueVersionsRequest, call: Call
    ) -> pb.BatchGetQueueVersionsResponse:
        """Returns the queue versions for many tokens, in order; "" for an invalid token."""
        versions = self._watch_tokens.versions(
            request.watch_tokens, call.clock.now(), partial(_queue_versions, call.tx)
        )
        return pb.BatchGetQueueVersionsResponse(versions=versions)

    def WatchReferrals(
        self, request: pb.WatchReferralsRequest, stream: Stream
    ) -> Iterator[pb.WatchReferralsResponse]:
        """Streams the events of the referrals that match a filter, as they happen."""
        scope = _queue_scope(stream.caller)
        message = pb.ReferralFilter(
            box=request.box,
            need_code=request.need_code,
            person_id=request.person_id,
            contact_id=request.contact_id,
        )
        query = filter(message, stream.caller, stream.clock.now(), "")
        with self._watch.watching():
            with stream.transaction() as tx:
                store, position = self._watch.begin(
                    tx, self._resume_tokens.cursor(request, scope, str, int)
                )
            # This token is sent even if there is no event: a token that is sent only after an event
            # would reveal events that the caller may not see.
            yield pb.WatchReferralsResponse(
                resume_token=self._resume_tokens.token(request, scope, [store, position])
            )
            while stream.is_open():
                with stream.transaction() as tx:
                    changes, position = self._watch.changes(tx, stream.caller, query, position)
                for change in changes:
                    yield change_message(
                        change.referral,
                        change.event,
                        change.step_version,
                        self._resume_tokens.token(request, scope, [store, change.position]),
                    )
                self._watch.wait(position, min(_MAX_WAIT, stream.left))
            yield pb.WatchReferralsResponse(
                resume_token=self._resume_tokens.token(request, scope, [store, position])
            )

    def GetDeadlinePolicy(
        self, request: pb.GetDeadlinePolicyRequest, call: Call
    ) -> pb.DeadlinePolicy:
        """Returns the requested version of the network's deadlines, or by default the newest."""
        return policy_message(
            self._policies.get(call.tx, request.version)
            if request.version
            else self._policies.newest(call.tx)
        )

    def PublishDeadlinePolicy(
        self, request: pb.PublishDeadlinePolicyRequest, call: Call
    ) -> pb.DeadlinePolicy:
        """Publishes the next version of the network's deadlines."""
        return policy_message(
            self._policies.publish(
                call.tx, call.caller, call.clock.now(), request.version, spans(request.deadlines)
            )
        )

    def ListReferralEvents(
        self, request: pb.ListReferralEventsRequest, call: Call
    ) -> pb.ListReferralEventsResponse:
        """Returns the history of a referral.

        Notes are about the person, so reading them needs a grant, like reading her identity, and is
        recorded on the trail. The details of her arrival need no consent for notes: any consent to
        refer her to this receiver covers them. The trail names no field group if only they are
        read.
        """
        tx, now, actor = call.tx, call.clock.now(), actor_of(call.caller)
        referral = referrals.get(tx, object_id(request.referral_id))
        grant = self._grant(call, now, referral, FieldGroup.NOTES)
        with_notes, grant = grant is not None, grant or self._grant(call, now, referral)
        # Everyone who may see the referral may see its history; texts about the person need a
        # grant.
        key = self._people.key(tx, grant.person_id) if grant else None
        events = _with_latest_notes(
            referral.events_for(
                actor, referrals.events(tx, referral.id, key, with_notes=with_notes)
            )
        )
        has_notes = any(event.note for event in events)
        if grant and (has_notes or any(event.arrival for event in events)):
            groups = (FieldGroup.NOTES.value,) if has_notes else ()
            details = (*groups, f"referral:{referral.id}", *grant.basis)
            call.trail.append(Entry("read_notes", referral.person_id, referral.need_code, details))
            self._openings.admit(tx, call.caller, now, referral.person_id)
        return pb.ListReferralEventsResponse(events=[event_message(event) for event in events])

    def _grant(
        self, call: Call, now: datetime, referral: Referral, *groups: FieldGroup
    ) -> Grant | None:
        """Returns the caller's grant for these groups and the referral's need, or None."""
        try:
            return self._grants.of_person(
                call.tx,
                call.caller,
                now,
                referral.person_id,
                referral.need_code,
                frozenset(groups),
                referral.id,
            )
        except (NotAllowed, NotFound, Conflict):
            return None

    def _legs_of(self, call: Call, now: datetime, referral: Referral) -> Sequence[pb.Leg]:
        """Returns the legs of the referral's hand-over. Must come last in a transaction."""
        return self._legs.legs_of(
            call.tx,
            referral,
            actor_of(call.caller),
            lambda: self._grant(call, now, referral) is not None,
        )

    def _change_draft(
        self,
        tx: Transaction,
        referral: Referral,
        actor: Actor,
        now: datetime,
        draft: Draft,
        calendar_at: Callable[[str, str], Calendar],
        *,
        person: Person | None = None,
        urgency_checked: bool = False,
    ) -> None:
        """Changes a draft; reads the person if the calling code does not pass her as `person`.

        `urgency_checked` is True if the urgency comes from the enquiry or referral that the draft
        is based on, where it was checked earlier.
        """
        service = ("", "") if draft.service_id == "" else None
        if draft.service_id:
            owner_id = members.owner_of_service(
                tx, draft.service_id, referral.sender_organization_id
            )
            if owner_id is None:
                raise Conflict("service_unknown")
            service = (draft.service_id, owner_id)
        if (
            draft.receipt_id
            and self._receipts.get(tx, draft.receipt_id).person_id != referral.person_id
        ):
            raise NotFound
        assault_time = draft.assault_time
        contact_id = draft.contact_id or referral.contact_id
        affects_urgency = (
            draft.urgency is not None
            or draft.without_urgency
            or draft.contact_id not in (None, referral.contact_id)
        )
        answered_urgency = (
            contacts.urgency_of(tx, contact_id) if affects_urgency and not urgency_checked else None
        )
        # contacts.assault_time raises NotFound for a contact of another line. Otherwise a worker
        # could link such a contact, read it, and end its callbacks.
        if draft.contact_id:
            recent_time = recent_assault_time(contacts.assault_time(tx, draft.contact_id), now)
            if not draft.without_assault:
                assault_time = assault_time or (None if referral.assault_time else recent_time)
        unsafe = draft.unsafe(referral.unsafe)
        # an answer may be cleared; an unchanged one may be sent back, even if she was not asked
        if unsafe is not None and unsafe not in (referral.unsafe, Unsafe()):
            unsafe.check(path=draft.path)
        person = person or self._people.get(tx, referral.person_id)
        referral.coarse = person.coarse  # a draft has the file's data until the draft is sent
        referral.change_draft(
            actor,
            now,
            calendar_at(person.coarse.country, person.coarse.department),
            path=draft.path,
            need_code=draft.need_code,
            urgency=draft.urgency,
            without_urgency=draft.without_urgency,
            answered_urgency=answered_urgency,
            urgency_reason_code=draft.urgency_reason_code,
            service=service,
            receipt_id=draft.receipt_id,
            contact_id=draft.contact_id,
            assault_time=assault_time,
            without_assault=draft.without_assault,
            unsafe=unsafe,
        )


def _enquiry_of(tx: Transaction, identifier: str, person_id: str) -> Enquiry:
    """Locks and returns an enquiry that is in the scope, and not about another person."""
    try:
        enquiry = enquiries.get(tx, identifier, for_update=True)
    except NotFound:
        enquiry = None
    if enquiry is None or enquiry.person_id not in ("", person_id):
        raise Invalid(("enquiry_id", "unknown_code"))
    return enquiry


def _queue_scope(caller: Caller) -> str:
    """Returns the scope of the caller's lists; callers with the same scope see the same lists."""
    return f"{caller.organization_id}{_AND_NETWORK if members.view_of(caller) == 'coordinator' else ''}"  # noqa: E501


def _queue_versions(tx: Transaction, scopes: Collection[str]) -> dict[str, str]:
    """Returns for each scope a string that changes with its lists.

    Runs in the scope of the whole service, so that the string does not depend on the caller.
    """
    elevate_to_system_scope(tx)
    return {
        scope: boxes.queue_version(
            tx, scope.removesuffix(_AND_NETWORK), network=scope.endswith(_AND_NETWORK)
        )
        for scope in scopes
    }


def _with_latest_notes(events: Sequence[Event]) -> list[Event]:
    """Returns the events, without the oldest notes if all notes do not fit into an answer."""
    size, shown_events = 0, list[Event]()
    for event in reversed(events):
        size += len(event.note.encode())
        shown_events.append(
            replace(event, note="", note_withheld=True)
            if event.note and size > MOST_TEXT
            else event
        )
    return shown_events[::-1]
