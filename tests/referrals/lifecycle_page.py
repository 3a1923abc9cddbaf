"""Renders docs/lifecycle.md from the table of transitions.

Run `python -m tests.referrals.lifecycle_page`.
"""

from datetime import timedelta
from pathlib import Path

from chassis.wire import names
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.domain.triage import PRECEDENCE, RULES
from services.referrals.network.domain.deadline import (
    DELETION,
    EXPIRE_PERCENT,
    FIRST_POLICY,
    HEALTH,
    LEVELS,
    LONGEST,
    LONGEST_IN_DANGER,
    OVERRIDE_CONFIRM,
    OVERRIDE_END,
    SILENCE_AFTER_NEWS,
    DeadlineKind,
    Urgency,
)
from services.referrals.referrals.domain.lifecycle import (
    CAME_BACK,
    LIVE,
    REFER_AGAIN,
    TRANSITIONS,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    Side,
    State,
    Step,
)

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"

REQUIRED_CONTENT = {
    "send": (
        "need code, urgency, service, a safe-contact plan, with whom or where she is not safe, and"
        " a receipt that currently covers recipient and purpose; or, with the right to override,"
        " override code and note"
    ),
    "acknowledge": "no content",
    "ask": "question code (`other` needs a note); once in a referral's life",
    "answer": "note with the answer",
    "accept": (
        "planned first contact; the responsible worker, otherwise the receiver's desk is"
        " responsible"
    ),
    "waitlist": "expected wait in days (1 to 365), review time in the future",
    "decline": "decline code (`other` needs a note); optionally an alternative service",
    "expire": "no content: nobody answered for twice the time to decide",
    "start": "time of the first contact",
    "schedule_appointment": (
        "time of the appointment, from an hour ago to 90 days ahead; only one appointment is open"
        " at a time, and a new one replaces it"
    ),
    "attend_appointment": "no content; an open appointment, from one hour before its time",
    "miss_appointment": (
        "miss code (`other` needs a note); an open appointment, from one hour before its time"
    ),
    "cancel_appointment": "cancel code (`other` needs a note); an open appointment",
    "add_note": "note; the other side is notified",
    "complete": "outcome code; optionally codes of the delivered needs",
    "not_deliver": "not-delivered code (`other` needs a note)",
    "close_need": (
        "need-close code (`other` needs a note), if no referral follows it up; the receiver does"
        " not see it"
    ),
    "close": "whether help came: `yes` or `could_not_reach`",
    "reopen": "whether help came: `no`",
    "confirm_override": (
        "no content: a coordinator or a manager of the sender, other than the person who sent it,"
        " while `override_confirm` runs"
    ),
    "attach_consent": (
        "a consent receipt that currently covers recipient and purpose; it replaces the former one"
    ),
    "withdraw": "withdraw code (`other` needs a note)",
    "withdraw_consent": (
        "the withdrawn receipt, through any partner that holds it (a referral that came back keeps"
        " its state); or her reference, which ends everything, including drafts (without a"
        " deletion) and open needs"
    ),
    "assign": (
        "a worker of the receiver, or nobody: then the desk is responsible, as it is when its"
        " worker is suspended"
    ),
    "amend": "a different urgency, or a file with new content; the fact names the changed fields",
    "confirm_deletion": (
        "no content: the receiver has destroyed everything written about her elsewhere"
    ),
    "reroute": (
        "a different service; a draft for that service is created, based on this referral, and the"
        " need is open until the draft is sent"
    ),
    "remind": "no content; nobody was reminded within the last hour",
    "enter_in_error": (
        "no content; the sender within 24 hours of creating the draft, or while it is a draft; a"
        " coordinator at any time; nobody while `deletion` runs"
    ),
}
"""The content that each step needs; the methods of Referral check it."""

_CODES = {
    "Decline": pb.DeclineReason,
    "Withdraw": pb.WithdrawReason,
    "Not delivered": pb.NotDeliveredReason,
    "Need close": pb.NeedCloseReason,
    "Miss": pb.MissReason,
    "Cancel": pb.CancelReason,
    "Outcome": pb.Outcome,
    "Override": pb.OverrideReason,
    "Question": pb.Question,
    "Help came": pb.HelpCame,
}


def page() -> str:
    """Returns the page as Markdown."""
    return "\n".join(
        [
            "# The life of a referral",
            "",
            (
                "Printed by `python -m tests.referrals.lifecycle_page` from"
                " `services/referrals/referrals/domain`; a test fails when it is stale."
            ),
            "",
            "## States",
            "",
            *_diagram(),
            "",
            (
                "In a live state the receiver has access, and a deadline runs or the sender has to"
                f" act: {_names(LIVE)}."
            ),
            (
                "Every other state can change to `entered_in_error`, which is never"
                " counted; the diagram omits these arrows."
            ),
            "",
            "## Steps",
            "",
            *_steps(),
            "",
            "† Never one of a caller's allowed verbs: the step follows from another action"
            " (`reopen` from closing with `no`, `withdraw_consent` from withdrawing a receipt,"
            " `expire` from a deadline).",
            "",
            "## Whose turn it is",
            "",
            *_turns(),
            "",
            "## Deadlines",
            "",
            *_clocks(),
            "",
            "## The line",
            "",
            *_triage(),
            "",
            "## Reason codes",
            "",
            *[
                (
                    f"- **{name}**:"
                    f" {', '.join(f'`{code}`' for code in sorted(name.lower() for name in names(codes).values()))}"  # noqa: E501
                )
                for name, codes in _CODES.items()
            ],
            "",
        ]
    )


def _diagram() -> list[str]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for step in TRANSITIONS:
        if step.target not in (None, State.ENTERED_IN_ERROR):
            for source in _ordered(step.sources):
                arrows.setdefault((source, _target(step)), []).append(step.verb)
    ends = [
        s.value
        for s in State
        if not any(s in t.sources for t in TRANSITIONS if t.target is not State.ENTERED_IN_ERROR)
    ]
    return [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> draft",
        *[
            f"    {source} --> {target}: {', '.join(verbs)}"
            for (source, target), verbs in arrows.items()
        ],
        *[f"    {state} --> [*]" for state in ends],
        "```",
    ]


def _steps() -> list[str]:
    rows = [
        "| verb | from | to | who | required content | deadlines | fact |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in TRANSITIONS:
        verb = f"`{step.verb}`" + ("" if step.offered else " †")
        from_every_state = step.sources == frozenset(State) - {step.target}
        sources = (
            "every other state"
            if from_every_state
            else "every live state"
            if step.sources == LIVE
            else _names(step.sources)
        )
        sides = ", ".join(side.value for side in sorted(step.sides, key=lambda side: side.value))
        fact = f"`enlace.referral.{step.event_verb}.v1`"
        rows.append(
            f"| {verb} | {sources} | {_target(step)} | {sides} | {REQUIRED_CONTENT[step.verb]} |"
            f" {_effect(step)} | {fact} |"
        )
    return rows


def _turns() -> list[str]:
    rows = [
        "| state | turn | main step of the sender | of the receiver | of a coordinator |",
        "|---|---|---|---|---|",
    ]
    for state in State:
        turn = (
            "receiver"
            if state in WAITS_FOR_RECEIVER
            else "sender"
            if state in WAITS_FOR_SENDER
            else "nobody"
        )
        steps = [_main_step(state, side) for side in (Side.SENDER, Side.RECEIVER, Side.COORDINATOR)]
        if state in CAME_BACK:
            turn = "sender while unanswered, then nobody"
            steps[0] = f"`{REFER_AGAIN}` while the need is open"
        if steps != ["–"] * 3 or turn != "nobody":
            rows.append(f"| {state.value} | {turn} | {' | '.join(steps)} |")
    return [
        *rows,
        "",
        "A referral shows its reader the fields `turn`, `main_step`, `allowed_verbs` and"
        " `unanswered`; the filters `waiting_for_me` and `waiting_for_other` use the turn.",
        f"A referral that came back ({_names(CAME_BACK)}) is unanswered, an open need, until its"
        " sender has sent another referral based on it (not one entered in error), or somebody"
        " closes it (`close_need`).",
        (
            f"`{REFER_AGAIN}` is not a step of this referral: the sender creates a draft with"
            " `based_on_id`."
        ),
    ]


def _main_step(state: State, side: Side) -> str:
    steps = [
        f"`{step.verb}`"
        for step in TRANSITIONS
        if step.main and state in step.sources and side in step.sides
    ]
    if state is State.IN_PROGRESS and steps:
        return (
            f"{steps[-1]}; {steps[0]} at the time of an appointment, otherwise `add_note` after"
            " `silence` ended"
        )
    return next(iter(steps), "–")


def _target(step: Step) -> str:
    return step.target.value if step.target else "the same"


def _effect(step: Step) -> str:
    restarts = step.starts == step.stops
    words = [f"{'restarts' if restarts else 'starts'} {kind.value}" for kind in step.starts]
    if step.stops and not restarts:
        running_kinds = set(DeadlineKind) - set(step.stops)
        summary = (
            "stops all"
            if not running_kinds
            else "stops all but the health deadlines"
            if running_kinds == set(HEALTH)
            else ""
        )
        words.append(summary or "stops " + ", ".join(kind.value for kind in step.stops))
    if step.verb == "send":
        words.append("with an override also starts override_confirm and override_end")
    if step.verb == "ask":
        words.append("pauses decide")
    if step.verb == "answer":
        words.append("resumes decide")
    if step.verb == "add_note":
        words.append("a note of the receiver while help is given restarts silence")
    return "; ".join(words)


def _clocks() -> list[str]:
    kinds = (
        DeadlineKind.ACKNOWLEDGE,
        DeadlineKind.DECIDE,
        DeadlineKind.FIRST_CONTACT,
        DeadlineKind.REPLACE,
        DeadlineKind.ANSWER,
        DeadlineKind.DRAFT,
    )
    return [
        "| urgency | " + " | ".join(kind.value for kind in kinds) + " |",
        "|---" * (len(kinds) + 1) + "|",
        *[
            f"| {urgency.value} | "
            + " | ".join(_span(FIRST_POLICY.span(kind, urgency)) for kind in kinds)
            + " |"
            for urgency in reversed(Urgency)
        ],
        "",
        f"`review` is due at the receiver's review time, at most {_span(LONGEST)} later (emergency:"
        f" {_span(LONGEST_IN_DANGER[Urgency.EMERGENCY])}, immediate:"
        f" {_span(LONGEST_IN_DANGER[Urgency.IMMEDIATE])}); `silence` after"
        f" {_span(FIRST_POLICY.spans[None, DeadlineKind.SILENCE])}, or"
        f" {_span(SILENCE_AFTER_NEWS)} after news; `close` after"
        f" {_span(FIRST_POLICY.spans[None, DeadlineKind.CLOSE])}.",
        "While an appointment is open, `silence` starts at the appointment's time."
        " Its result restarts `silence`; the sender is notified when an appointment is made, missed"
        " or cancelled.",
        (
            "News is an attended appointment, or a note of the receiver (`add_note`), while no"
            " other appointment is open."
        ),
        "`replace` starts when a referral comes back, and concerns its sender alone."
        " It stops when another referral based on it is sent, continues if that was an"
        " error, and ends when the need is closed.",
        (
            "`draft` reminds the sender alone to send the draft or enter it in error. At 150 per"
            " cent the offer taken for the draft is released."
            " Without an urgency, a draft counts as normal."
        ),
        "An open contact of the line has a deadline (`contact`), as long as `draft` for the urgency"
        " of its answers, or for an emergency while these leave it open or a caller's message is"
        " unread. The line is notified at 50 and 100 per cent, the coordinators too at 150; for an"
        " immediate contact, at once.",
        "Health deadlines begin at the time of an assault stated in the draft or its contact: "
        + "; ".join(f"`{kind.value}` ends after {_span(span)}" for kind, span in HEALTH.items())
        + " (WHO). While either could run, the referral is at least an emergency."
        " They run until the first contact, even while another service is sought and in the"
        " draft that follows; they send no notifications, and no coordinator sees them.",
        (
            f"`deletion`: within {_span(DELETION)} of a withdrawal the receiver, also of a referral"
            " that ended before, confirms that it has deleted everything."
        ),
        "When a member is suspended, leaves or is reinstated, the other side of each live referral"
        " is notified once (`side_out`, `side_back`).",
        "An override opens her first name and her safe-contact plan until a second person has"
        " confirmed it; after that, it opens what is needed to act."
        f" It opens nothing after {_span(OVERRIDE_CONFIRM)} without that confirmation"
        " (`override_confirm`), and nothing after"
        f" {_span(OVERRIDE_END)} (`override_end`) unless a consent replaced it.",
        "Working days are those of the person's country, without weekends and public holidays.",
        f"Each deadline fires once at {', '.join(str(level) for level in LEVELS[:-1])} and"
        f" {LEVELS[-1]} per cent:"
        " `clock_reminded`, `clock_breached`, `clock_escalated`."
        " After an outage, only the highest level fires.",
        (
            f"At {EXPIRE_PERCENT} per cent of `decide` the referral expires:"
            " its receiver's access ends, both desks are notified, and it becomes an open need."
        ),
    ]


def _triage() -> list[str]:
    rows = ["| answer of the triage | urgency | pathway | medicine |", "|---|---|---|---|"]
    for rule in RULES:
        exception = f", unless `{rule.unless[0]}` {rule.unless[1]}" if rule.unless[0] else ""
        medicine = ", ".join(kind.value for kind in rule.health) or "–"
        rows.append(
            f"| `{rule.question}` {rule.answer}{exception} | {rule.urgency.value}"
            f" | `{rule.pathway}` | {medicine} |"
        )
    return [
        *rows,
        "",
        "If several rules match, the most urgent applies; of their pathways, the first of these:"
        f" {', '.join(f'`{pathway}`' for pathway in PRECEDENCE)}."
        " An unasked or unanswered question never lowers the urgency."
        " If no rule matches, the contact is normal once each of these questions was answered or"
        " declined, with at least one answered; before that, the contact is not assessed.",
        (
            "A call that the line owes has a deadline (`callback`) from the beginning of the agreed"
            " hours to their end."
        ),
    ]


def _span(span: timedelta | int) -> str:
    if isinstance(span, int):
        return f"{span} working days"
    if span >= timedelta(days=7):
        return f"{span.days} days"
    minutes = int(span.total_seconds()) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"


def _ordered(states: frozenset[State]) -> list[str]:
    return [state.value for state in State if state in states]


def _names(states: frozenset[State]) -> str:
    return ", ".join(_ordered(states))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
