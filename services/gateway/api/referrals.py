"""/referrals: requests to one service, with consent: drafts, lists, history. What may happen to one is in referral_verbs."""

from marshmallow import Schema

from protos.notifications.v1 import notifications_pb2 as notices_pb
from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, list_of, page_of
from services.gateway.api.patches import patch_of
from services.gateway.api.people import CoarsePersonSchema
from services.gateway.api.routes import Routes

referrals = Routes(
    "referrals",
    "Requests to one service, with consent, from draft to closed, and the clocks that watch them.",
    pb.DESCRIPTOR.services_by_name["Referrals"],
)
STATE, URGENCY, CLOCK = pb.State.DESCRIPTOR, pb.Urgency.DESCRIPTOR, pb.ClockKind.DESCRIPTOR


class ClockSchema(Schema):
    """A deadline that is watched."""

    kind = fields.word(CLOCK, "What is due.")
    start_time = fields.time("Since when it runs.")
    due_time = fields.time("When it is due.")
    stop_time = fields.time("When it stopped; absent while it runs.")
    fired_percent = fields.number("The last level that was told: 0, 50, 100 or 150.", 0, 150)


class ReferralSchema(Schema):
    """A referral as its caller may see it."""

    id = fields.ident("The referral.", dump_only=True)
    etag = fields.etag()
    code = fields.code("Short, to say on the phone and to print.", example="K7M2QX", dump_only=True)
    state = fields.word(STATE, "Where it stands.", example="sent", dump_only=True)
    urgency = fields.word(URGENCY, "How soon: it sets the deadlines.", example="urgent")
    need_code = fields.code("The need, see /taxonomy.", example="HOU.EMG")
    person_id = fields.ident("Whose need; absent in the coordinator's view.")
    contact_id = fields.ident("The contact it came from; the sender only.")
    sender_organization_id = fields.ident("Who asks.", dump_only=True)
    sender_worker_id = fields.ident("Which worker asks.", dump_only=True)
    receiver_organization_id = fields.ident("Who is asked.", dump_only=True)
    service_id = fields.ident("The service that is asked.")
    receipt_id = fields.ident("The consent it stands on.")
    override_reason_code = fields.word(pb.OverrideReason.DESCRIPTOR, "Why it was sent without a consent.", dump_only=True)
    person = fields.part(CoarsePersonSchema, "What may be said of her.", dump_only=True)
    responsible_worker_id = fields.ident("Who sees to it.", dump_only=True)
    responsible_desk_code = fields.code("desk, when no worker is named.", example="desk", dump_only=True)
    planned_first_contact_time = fields.time("When she will first be met.", dump_only=True)
    first_contact_time = fields.time("When she was first met.", dump_only=True)
    reason_code = fields.code("Of the last exit.", example="no_capacity", dump_only=True)
    question_code = fields.word(pb.Question.DESCRIPTOR, "What was asked.", example="dependants", dump_only=True)
    outcome_code = fields.word(pb.Outcome.DESCRIPTOR, "What came of it.", dump_only=True)
    delivered_need_codes = fields.many(fields.code("A need.", example="HOU.EMG"), "What was delivered.", dump_only=True)
    alternative_service_id = fields.ident("What the receiver proposes instead.", dump_only=True)
    expected_wait_days = fields.number("On a waiting list: how long; 0: not said.", dump_only=True)
    review_time = fields.time("On a waiting list: when it is looked at again.", dump_only=True)
    based_on_id = fields.ident("The referral it follows.", dump_only=True)
    clocks = fields.many(fields.part(ClockSchema, "A clock."), "Running ones first.", dump_only=True)
    allowed_verbs = fields.many(
        fields.code("A verb.", example="accept"), "What this caller may do next, what moves things on first.", dump_only=True
    )
    side = fields.word(pb.Side.DESCRIPTOR, "On which side you are.", dump_only=True)
    next_due_time = fields.time("Of the earliest running clock.", dump_only=True)
    send_time = fields.time("When it was sent.", dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()
    turn = fields.word(pb.Turn.DESCRIPTOR, "Whose turn it is: who is expected to take the next step; absent: nobody's.", dump_only=True)
    main_step = fields.code(
        "The one step of this caller that moves things on: one of allowed_verbs, or refer_again (a new referral with based_on_id). Absent: none.",
        example="accept",
        dump_only=True,
    )
    unanswered = fields.flag(
        "It came back without help (declined, expired, not delivered) within 14 days and its sender has not referred her again."
        " Never said to its receiver.",
        dump_only=True,
    )
    live = fields.flag("Something is still expected of somebody; a draft is not live.", dump_only=True)


class NewReferralSchema(Schema):
    """A draft."""

    person_id = fields.ident("Whose need: a file of your organisation.", required=True)
    contact_id = fields.ident("The contact it came from.")
    need_code = fields.code("The need, see /taxonomy.", example="HOU.EMG")
    urgency = fields.word(URGENCY, "How soon.", example="urgent")
    service_id = fields.ident("The service to ask.")
    based_on_id = fields.ident("The referral it follows.")


ReferralPatch = patch_of(ReferralSchema, "ReferralPatch", only=("need_code", "urgency", "service_id", "receipt_id", "contact_id"))


class FilterQuery(Schema):
    """Which referrals."""

    box = fields.word(pb.Box.DESCRIPTOR, "inbox: to your organisation; outbox: from it; mine (default): both; network: all; coordinator.")
    state = fields.many(fields.word(STATE, "A state."), "Only in these states; may be repeated.", 20)
    need = fields.code("Only for this need, with its sub-codes.", example="HOU")
    urgency = fields.word(URGENCY, "Only as urgent as this.")
    due_before = fields.time("Only with a clock that runs out before.")
    modified_after = fields.time("Only changed after.")
    live = fields.flag("Only where something is still expected.")
    waiting_for_me = fields.flag("Only where the next step is yours.")
    waiting_for_other = fields.flag("Only where the next step is the other side's.")
    person_id = fields.ident("Only of this person.")
    contact_id = fields.ident("Only from this contact.")
    late = fields.flag("Only with a running clock that is past due.")
    due_soon = fields.flag("Only due within four hours, not late.")
    unanswered = fields.flag("Only what came back without help and its sender has not referred again, see Referral.")


class ReferralQuery(FilterQuery, PageQuery):
    """A page of them."""


class CountsSchema(Schema):
    """What a desk has before it."""

    late = fields.number("A running clock is past due.")
    due_soon = fields.number("Due within four hours, not late.")
    waiting_for_me = fields.number("The next step is yours.")
    waiting_for_other = fields.number("The next step is the other side's.")
    fresh = fields.number("Sent, not yet acknowledged.")
    total = fields.number("All.")
    by_state = fields.table(fields.number("How many."), "By state.")
    live_by_need_group = fields.table(fields.number("How many."), "Live ones by group of need.")
    live_by_department = fields.table(fields.number("How many."), "Live ones by the person's department.")


class PolicyDeadlineSchema(Schema):
    """How long one clock runs."""

    urgency = fields.word(URGENCY, "For which urgency; absent: for any.", example="emergency")
    clock = fields.word(CLOCK, "What is due.")
    seconds = fields.number("How long.", example=3600)
    working_days = fields.number("In the place of seconds: how many working days of the person's country.", example=0)


class DeadlinePolicySchema(Schema):
    """The network's deadlines. A review on a waiting list is due when the receiver says."""

    deadlines = fields.many(fields.part(PolicyDeadlineSchema, "A deadline."), "By urgency.")


class ReferralEventSchema(Schema):
    """One transition, or one event of a clock."""

    version = fields.number("Its place in the history.", 1, 2**63 - 1)
    verb = fields.code("What happened: sent, acknowledged … or clock_reminded, clock_breached, clock_escalated.", example="sent")
    from_state = fields.word(STATE, "The state before.")
    to_state = fields.word(STATE, "The state after.", example="sent")
    time = fields.time("When.")
    actor_kind = fields.word(pb.ActorKind.DESCRIPTOR, "Who did it.")
    actor_id = fields.ident("Which worker or key.")
    actor_organization_id = fields.ident("Of which organisation.")
    reason_code = fields.code("Why.", example="no_capacity")
    attribution = fields.word(pb.Attribution.DESCRIPTOR, "On whose account.")
    clock = fields.word(CLOCK, "Which clock.")
    note = fields.text("Opened for sender and receiver only; that is on record.", 4000)
    note_withheld = fields.flag("There is a note that the caller may not open.", dump_only=True)


class NoticeSchema(Schema):
    """How somebody was told."""

    kind = fields.code("What was told.", example="referral_sent")
    organization_id = fields.ident("Who was told.")
    channel = fields.word(notices_pb.NoticeChannel.DESCRIPTOR, "How.")
    status = fields.word(notices_pb.DeliveryStatus.DESCRIPTOR, "Whether it arrived.", example="delivered")
    create_time = fields.created()
    delivery_time = fields.time("When it arrived.")
    read_time = fields.time("When it was read; inbox only.")


referrals.rpc(
    "CreateReferral", "Open a draft", "The receiver sees nothing of it until it is sent.", answers=ReferralSchema, takes=NewReferralSchema
)
referrals.rpc(
    "ListReferrals",
    "List referrals",
    "Live ones by their next deadline, else newest first.",
    answers=page_of(ReferralSchema, "ReferralPage"),
    query=ReferralQuery,
)
referrals.rpc("CountReferrals", "Count what a desk has before it", answers=CountsSchema, query=FilterQuery)
referrals.rpc(
    "GetDeadlinePolicy",
    "Show how long there is for what",
    "The network's policy, by urgency; what a referral's own clocks say is what counts.",
    answers=DeadlinePolicySchema,
)
referrals.rpc(
    "GetReferral",
    "Show a referral",
    "Its sender, its receiver, or (no text, no identity) a coordinator.",
    answers=ReferralSchema,
    moves=True,  # what may be done next, and whose turn it is, changes by time and by the referral that follows it; its version does not
)
referrals.rpc("UpdateReferral", "Change a draft", answers=ReferralSchema, takes=ReferralPatch)
referrals.rpc(
    "ListReferralEvents",
    "Show the history",
    "Each transition and each event of a clock: who, when, why.",
    answers=list_of(ReferralEventSchema, "History"),
)
referrals.rpc(
    "ListNotices",
    "Show who was told, and whether it arrived",
    answers=list_of(NoticeSchema, "Notices"),
    service=notices_pb.DESCRIPTOR.services_by_name["Notifications"],
)
