"""Referrals."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from chassis.errors import Invalid
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.streams import Stream
from chassis.wire import ANY_YEAR, PageTokens, ResumeTokens, WatchTokens, masked, moment, optional_id, page_size, version, word, word_list
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import wire
from services.referrals.domain.codes import Check, beginnings_of
from services.referrals.domain.deadline import Calendar, Key, Policy, Span, Urgency
from services.referrals.domain.filter import Filter
from services.referrals.domain.referral import Actor, Referral
from services.referrals.usecases.policies import Policies
from services.referrals.usecases.referrals import Draft, Referrals, actor_of
from services.referrals.usecases.watch import Watch

_BOXES = {pb.BOX_INBOX: "inbox", pb.BOX_OUTBOX: "outbox", pb.BOX_NETWORK: "network", pb.BOX_MINE: "mine", pb.BOX_UNSPECIFIED: "mine"}
_LOOK = 0.5  # seconds after which a stream is looked at though nothing happened: whether somebody is there, and still may be
_UNSAFE = ("unsafe_code", "unsafe_organization_ids", "unsafe_departments")
_AMENDABLE = ("need_code", "urgency", "service_id", "receipt_id", "contact_id", "assault_time", "urgency_reason_code", *_UNSAFE)


class ReferralsServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(
        self, usecases: Referrals, policies: Policies, changes: Watch, pages: PageTokens, watch: WatchTokens, resume: ResumeTokens
    ) -> None:
        self._usecases = usecases
        self._policies = policies
        self._changes = changes
        self._pages = pages
        self._watch = watch
        self._resume = resume

    def CreateReferral(self, request: pb.CreateReferralRequest, call: Call) -> pb.Referral:
        """See the .proto, as for every method here."""
        draft = Draft(
            need_code=request.need_code or None,
            urgency=wire.URGENCIES.member(request.urgency, "urgency"),
            service_id=optional_id(request.service_id, "service_id") or None,
            contact_id=optional_id(request.contact_id, "contact_id") or None,
            assault_time=moment(request, "assault_time"),
            urgency_reason_code=word(pb.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"),
            **_unsafe(request, [name for name in _UNSAFE if getattr(request, name)]),
        )
        based_on = optional_id(request.based_on_id, "based_on_id")
        made = self._usecases.create(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(request.person_id),
            draft,
            based_on_id=based_on,
            enquiry_id=optional_id(request.enquiry_id, "enquiry_id"),
        )
        return self._pack(made, call)

    def UpdateReferral(self, request: pb.UpdateReferralRequest, call: Call) -> pb.Referral:
        paths = masked(request.update_mask, _AMENDABLE)
        sent = request.referral
        draft = Draft(
            need_code=sent.need_code if "need_code" in paths else None,
            urgency=_required_urgency(sent.urgency) if "urgency" in paths else None,
            service_id=optional_id(sent.service_id, "service_id") if "service_id" in paths else None,
            receipt_id=optional_id(sent.receipt_id, "receipt_id") if "receipt_id" in paths else None,
            contact_id=optional_id(sent.contact_id, "contact_id") if "contact_id" in paths else None,
            assault_time=moment(sent, "assault_time") if "assault_time" in paths else None,
            urgency_reason_code=word(pb.UrgencyReason, sent.urgency_reason_code, "urgency_reason_code")
            if "urgency_reason_code" in paths
            else "",
            **_unsafe(sent, paths),
        )
        changed = self._usecases.change_draft(
            call.tx, call.caller, call.clock.now(), object_id(sent.id), version(sent.etag, "referral.etag"), draft
        )
        return self._pack(changed, call)

    def GetReferral(self, request: pb.GetReferralRequest, call: Call) -> pb.Referral:
        referral = self._usecases.get(call.tx, object_id(request.id))
        legs = self._usecases.legs(call.tx, call.caller, call.clock.now(), referral)
        return wire.referral_message(referral, actor_of(call.caller), call.clock.now(), legs)

    def ListReferrals(self, request: pb.ListReferralsRequest, call: Call) -> pb.ListReferralsResponse:
        if request.order_by not in pb.Order.values():
            raise Invalid(("order_by", "unknown_code"))
        by_urgency, size = request.order_by == pb.ORDER_URGENCY, page_size(request.page_size, default=50, most=200)
        after = self._pages.position(request, *([int] if by_urgency else []), str, str, str)
        referrals, more = self._usecases.find(call.tx, _filter(request.filter, call), size, after, by_urgency=by_urgency)
        return pb.ListReferralsResponse(
            referrals=[self._pack(referral, call) for referral in referrals], next_page_token=self._pages.token(request, more)
        )

    def CountReferrals(self, request: pb.CountReferralsRequest, call: Call) -> pb.CountReferralsResponse:
        row = self._usecases.count(call.tx, _filter(request.filter, call))
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
                pb.UnansweredNeed(need_group_code=need, department=department, count=n) for need, department, n in row["unanswered"]
            ],
        )

    def GetQueueVersion(self, request: pb.GetQueueVersionRequest, call: Call) -> pb.QueueVersion:
        scope = self._usecases.queue_scope(call.caller)
        return pb.QueueVersion(
            version=self._usecases.queue_versions(call.tx, [scope])[scope], watch_token=self._watch.token(scope, call.clock.now())
        )

    def BatchGetQueueVersions(self, request: pb.BatchGetQueueVersionsRequest, call: Call) -> pb.BatchGetQueueVersionsResponse:
        ask = partial(self._usecases.queue_versions, call.tx)
        return pb.BatchGetQueueVersionsResponse(versions=self._watch.versions(request.watch_tokens, call.clock.now(), ask))

    def WatchReferrals(self, request: pb.WatchReferralsRequest, stream: Stream) -> Iterator[pb.WatchReferralsResponse]:
        whose = self._usecases.queue_scope(stream.caller)
        asked = pb.ReferralFilter(box=request.box, need_code=request.need_code, person_id=request.person_id, contact_id=request.contact_id)
        wanted = _filter(asked, stream, "")
        with stream.transaction() as tx:
            store, position = self._changes.begin(tx, self._resume.position(request, whose, str, int))
        # Also when nothing happened: a token that comes only if something did would tell of others.
        yield pb.WatchReferralsResponse(resume_token=self._resume.token(request, whose, [store, position]))
        while stream.goes_on():
            with stream.transaction() as tx:
                changes, position = self._changes.changes(tx, stream.caller, wanted, position)
            for change in changes:
                yield wire.change_message(
                    change.referral, change.event, change.step_version, self._resume.token(request, whose, [store, change.position])
                )
            self._changes.wait(position, min(_LOOK, stream.left))
        yield pb.WatchReferralsResponse(resume_token=self._resume.token(request, whose, [store, position]))

    def GetDeadlinePolicy(self, request: pb.GetDeadlinePolicyRequest, call: Call) -> pb.DeadlinePolicy:
        return _policy_message(self._policies.get(call.tx, request.version) if request.version else self._policies.newest(call.tx))

    def PublishDeadlinePolicy(self, request: pb.PublishDeadlinePolicyRequest, call: Call) -> pb.DeadlinePolicy:
        spans = _spans(request.deadlines)
        return _policy_message(self._policies.publish(call.tx, call.caller, call.clock.now(), request.version, spans))

    def ListReferralEvents(self, request: pb.ListReferralEventsRequest, call: Call) -> pb.ListReferralEventsResponse:
        events = self._usecases.history(call.tx, call.caller, call.clock.now(), object_id(request.referral_id), call.trail)
        return pb.ListReferralEventsResponse(events=[wire.event_message(event) for event in events])

    def SendReferral(self, request: pb.SendReferralRequest, call: Call) -> pb.Referral:
        sent = self._usecases.send(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(request.id),
            version(request.etag),
            receipt_id=optional_id(request.receipt_id, "receipt_id"),
            override=word(pb.OverrideReason, request.override_reason_code, "override_reason_code"),
            note=request.note,
            acknowledged=word_list(pb.Acknowledgement, request.acknowledged_codes, "acknowledged_codes"),
            arrival=wire.arrival(request.arrival) if request.HasField("arrival") else None,
            trail=call.trail,
        )
        return self._pack(sent, call)

    def ConfirmOverride(self, request: pb.ConfirmOverrideRequest, call: Call) -> pb.Referral:
        confirmed = self._usecases.confirm_override(
            call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), call.trail
        )
        return self._pack(confirmed, call)

    def AttachConsent(self, request: pb.AttachConsentRequest, call: Call) -> pb.Referral:
        receipt_id = optional_id(request.receipt_id, "receipt_id")
        attached = self._usecases.attach_consent(
            call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), receipt_id, call.trail
        )
        return self._pack(attached, call)

    def AcknowledgeReferral(self, request: pb.AcknowledgeReferralRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.acknowledge(actor, now, days))

    def AskReferral(self, request: pb.AskReferralRequest, call: Call) -> pb.Referral:
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.ask(actor, now, days, word(pb.Question, request.question_code, "question_code"), request.note),
        )

    def AnswerReferral(self, request: pb.AnswerReferralRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.answer(actor, now, days, request.note))

    def AcceptReferral(self, request: pb.AcceptReferralRequest, call: Call) -> pb.Referral:
        planned = moment(request, "planned_first_contact_time")
        worker = self._worker(request.responsible_worker_id, call)
        return self._step(
            request, call, lambda r, actor, now, days: r.accept(actor, now, days, worker_id=worker, planned=planned, note=request.note)
        )

    def WaitlistReferral(self, request: pb.WaitlistReferralRequest, call: Call) -> pb.Referral:
        review = moment(request, "review_time")
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.waitlist(actor, now, days, days=request.expected_wait_days, review=review, note=request.note),
        )

    def DeclineReferral(self, request: pb.DeclineReferralRequest, call: Call) -> pb.Referral:
        other = optional_id(request.alternative_service_id, "alternative_service_id")
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.decline(
                actor,
                now,
                days,
                reason_code=word(pb.DeclineReason, request.reason_code, "reason_code"),
                alternative_service_id=other,
                note=request.note,
            ),
        )

    def AssignReferral(self, request: pb.AssignReferralRequest, call: Call) -> pb.Referral:
        worker = self._worker(request.responsible_worker_id, call)
        return self._step(request, call, lambda r, actor, now, days: r.assign(actor, now, days, worker_id=worker, note=request.note))

    def StartReferral(self, request: pb.StartReferralRequest, call: Call) -> pb.Referral:
        first = moment(request, "first_contact_time")
        return self._step(request, call, lambda r, actor, now, days: r.start(actor, now, days, first_contact=first, note=request.note))

    def ScheduleAppointment(self, request: pb.ScheduleAppointmentRequest, call: Call) -> pb.Referral:
        time = moment(request, "appointment_time")
        return self._step(request, call, lambda r, actor, now, days: r.schedule_appointment(actor, now, days, time=time, note=request.note))

    def AttendAppointment(self, request: pb.AttendAppointmentRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.attend_appointment(actor, now, days, request.note))

    def MissAppointment(self, request: pb.MissAppointmentRequest, call: Call) -> pb.Referral:
        reason = word(pb.MissReason, request.reason_code, "reason_code")
        return self._step(
            request, call, lambda r, actor, now, days: r.miss_appointment(actor, now, days, reason_code=reason, note=request.note)
        )

    def CancelAppointment(self, request: pb.CancelAppointmentRequest, call: Call) -> pb.Referral:
        reason = word(pb.CancelReason, request.reason_code, "reason_code")
        return self._step(
            request, call, lambda r, actor, now, days: r.cancel_appointment(actor, now, days, reason_code=reason, note=request.note)
        )

    def AddNote(self, request: pb.AddNoteRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.add_note(actor, now, days, request.note))

    def CompleteReferral(self, request: pb.CompleteReferralRequest, call: Call) -> pb.Referral:
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.complete(
                actor,
                now,
                days,
                outcome_code=word(pb.Outcome, request.outcome_code, "outcome_code"),
                delivered=request.delivered_need_codes,
                note=request.note,
            ),
        )

    def NotDeliverReferral(self, request: pb.NotDeliverReferralRequest, call: Call) -> pb.Referral:
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.not_deliver(
                actor, now, days, reason_code=word(pb.NotDeliveredReason, request.reason_code, "reason_code"), note=request.note
            ),
        )

    def CloseReferral(self, request: pb.CloseReferralRequest, call: Call) -> pb.Referral:
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.close(
                actor, now, days, help_came=word(pb.HelpCame, request.help_came_code, "help_came_code"), note=request.note
            ),
        )

    def WithdrawReferral(self, request: pb.WithdrawReferralRequest, call: Call) -> pb.Referral:
        return self._step(
            request,
            call,
            lambda r, actor, now, days: r.withdraw(
                actor, now, days, reason_code=word(pb.WithdrawReason, request.reason_code, "reason_code"), note=request.note
            ),
        )

    def CloseNeed(self, request: pb.CloseNeedRequest, call: Call) -> pb.Referral:
        reason = word(pb.NeedCloseReason, request.reason_code, "reason_code")
        return self._step(request, call, lambda r, actor, now, days: r.close_need(actor, now, days, reason_code=reason, note=request.note))

    def AmendReferral(self, request: pb.AmendReferralRequest, call: Call) -> pb.Referral:
        urgency = wire.URGENCIES.member(request.urgency, "urgency")
        amended = self._usecases.amend(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(request.id),
            version(request.etag),
            urgency,
            request.note,
            word(pb.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"),
        )
        return self._pack(amended, call)

    def ConfirmDeletion(self, request: pb.ConfirmDeletionRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.confirm_deletion(actor, now, days, request.note))

    def RerouteReferral(self, request: pb.RerouteReferralRequest, call: Call) -> pb.Referral:
        service_id = optional_id(request.service_id, "service_id")
        rerouted = self._usecases.reroute(
            call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), service_id, request.note
        )
        return self._pack(rerouted, call)

    def RemindReferral(self, request: pb.RemindReferralRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.remind(actor, now, days))

    def EnterReferralInError(self, request: pb.EnterReferralInErrorRequest, call: Call) -> pb.Referral:
        return self._step(request, call, lambda r, actor, now, days: r.enter_in_error(actor, now, days, request.note))

    def _step(
        self,
        request: pb.AcknowledgeReferralRequest
        | pb.AskReferralRequest
        | pb.AnswerReferralRequest
        | pb.AcceptReferralRequest
        | pb.AssignReferralRequest
        | pb.WaitlistReferralRequest
        | pb.DeclineReferralRequest
        | pb.StartReferralRequest
        | pb.ScheduleAppointmentRequest
        | pb.AttendAppointmentRequest
        | pb.MissAppointmentRequest
        | pb.CancelAppointmentRequest
        | pb.AddNoteRequest
        | pb.CompleteReferralRequest
        | pb.NotDeliverReferralRequest
        | pb.CloseReferralRequest
        | pb.WithdrawReferralRequest
        | pb.CloseNeedRequest
        | pb.ConfirmDeletionRequest
        | pb.RemindReferralRequest
        | pb.EnterReferralInErrorRequest,
        call: Call,
        take: Callable[[Referral, Actor, datetime, Calendar], None],
    ) -> pb.Referral:
        actor, now = actor_of(call.caller), call.clock.now()
        based_on = None if isinstance(request, pb.AddNoteRequest) else version(request.etag)  # a note never conflicts
        referral = self._usecases.step(
            call.tx, now, object_id(request.id), based_on, lambda referral, days: take(referral, actor, now, days)
        )
        return self._pack(referral, call)

    def _worker(self, identifier: str, call: Call) -> str:
        worker_id = optional_id(identifier, "responsible_worker_id")
        self._usecases.check_worker(call.tx, call.caller, worker_id)
        return worker_id

    @staticmethod
    def _pack(referral: Referral, call: Call) -> pb.Referral:
        return wire.referral_message(referral, actor_of(call.caller), call.clock.now())


def _required_urgency(number: int) -> Urgency:
    urgency = wire.URGENCIES.member(number, "urgency")
    if urgency is None:
        raise Invalid(("urgency", "required"))
    return urgency


def _filter(message: pb.ReferralFilter, call: Call | Stream, at: str = "filter.") -> Filter:
    box = _BOXES.get(message.box)
    if box is None:
        raise Invalid((f"{at}box", "unknown_code"))
    check = Check()
    check.need(f"{at}need_code", message.need_code)
    check.that(not message.code or bool(beginnings_of(message.code)), "filter.code", "malformed")
    check.done()
    if box == "network" and not (call.caller.has("COORDINATOR") or call.caller.has("AUDITOR")):
        box = "mine"  # who may not see the network asks for what is its own: row-level security would show no more either
    return Filter(
        box,
        call.caller.organization_id,
        call.clock.now(),
        states=tuple(wire.STATES.members(message.states, "states")),
        need_code=message.need_code,
        urgency=wire.URGENCIES.member(message.urgency, "urgency"),
        due_before=moment(message, "due_before", years=ANY_YEAR),
        due_after=moment(message, "due_after", years=ANY_YEAR),
        modified_after=moment(message, "modified_after", years=ANY_YEAR),
        live=message.live,
        waiting_for_me=message.waiting_for_me,
        waiting_for_other=message.waiting_for_other,
        person_id=optional_id(message.person_id, f"{at}person_id"),
        contact_id=optional_id(message.contact_id, f"{at}contact_id"),
        late=message.late,
        due_soon=message.due_soon,
        unanswered=message.unanswered,
        pressing=message.pressing,
        code=message.code,
    )


def _policy_message(policy: Policy) -> pb.DeadlinePolicy:
    return pb.DeadlinePolicy(
        version=policy.version,
        deadlines=[
            pb.PolicyDeadline(
                urgency=wire.URGENCIES.number(urgency),
                clock=wire.CLOCKS.number(kind),
                seconds=0 if isinstance(span, int) else int(span.total_seconds()),
                working_days=span if isinstance(span, int) else 0,
            )
            for (urgency, kind), span in policy.all()
        ],
    )


def _spans(deadlines: Iterable[pb.PolicyDeadline]) -> dict[Key, Span]:
    spans: dict[Key, Span] = {}
    for number, each in enumerate(deadlines):
        kind = wire.CLOCKS.member(each.clock, f"deadlines.{number}.clock")
        if kind is None:
            raise Invalid((f"deadlines.{number}.clock", "required"))
        key = wire.URGENCIES.member(each.urgency, f"deadlines.{number}.urgency"), kind
        if key in spans or (each.seconds and each.working_days):
            raise Invalid((f"deadlines.{number}", "out_of_range"))
        spans[key] = each.working_days or timedelta(seconds=each.seconds)
    return spans


def _unsafe(said: pb.CreateReferralRequest | pb.Referral, paths: Collection[str]) -> dict[str, Any]:
    """With whom or where she is not safe, as far as a request says it."""
    values: dict[str, Callable[[], Any]] = {
        "unsafe_code": lambda: word(pb.UnsafeAnswer, said.unsafe_code, "unsafe_code"),
        "unsafe_organization_ids": lambda: wire.unsafe_organizations(said.unsafe_organization_ids, "unsafe_organization_ids"),
        "unsafe_departments": lambda: tuple(dict.fromkeys(said.unsafe_departments)),
    }
    return {name: value() for name, value in values.items() if name in paths}
