"""Tonight in the network: referrals in most states, with running deadlines.

Times are relative to the first run of the demo, so that some referrals are late, some are due soon,
and one must be answered now. Later the referrals age like any others. People, places and words are
made up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from demo.network import Network, id_of
from demo.people import people
from demo.story import Story
from services.referrals.network.domain.deadline import Calendar, Urgency

IMMEDIATE = Urgency.IMMEDIATE
EMERGENCY = Urgency.EMERGENCY
URGENT = Urgency.URGENT
NORMAL = Urgency.NORMAL


class StoryBuilder:
    """Builds stories from steps that are dated by their age."""

    def __init__(self, network: Network, calendar: Calendar, now: datetime) -> None:
        self._network, self._calendar, self._now = network, calendar, now
        self._files = people(network, now)
        self.stories: list[Story] = []

    def add_story(
        self,
        person: str,
        need: str,
        offer: str,
        urgency: Urgency,
        draft_age: timedelta,
        *steps: tuple[Any, ...],
        contact_id: str = "",
    ) -> Story:
        """Adds a story.

        `steps` are (age, verb, fields). A field that is a timedelta stands for now plus this
        timedelta.
        """
        organization, slug = offer.split("/")
        at, file = self._now - draft_age, self._files[person]
        open_time = at - timedelta(minutes=3)
        # a file is older than its first referral
        file.person.create_time = file.person.update_time = min(open_time, file.person.create_time)
        story = Story(
            self._network,
            file,
            need,
            (organization, slug),
            urgency,
            at,
            self._calendar,
            contact_id=contact_id,
        )
        for ago, verb, *fields in steps:
            moment = self._now - ago
            if verb in ("send", "withdraw_consent", "reroute"):
                getattr(story, verb)(moment, *fields)
            else:
                values = {
                    name: self._now + value if isinstance(value, timedelta) else value
                    for name, value in (fields or [{}])[0].items()
                }
                story.take(moment, verb, **values)
        self.stories.append(story.fire_deadlines_until(self._now))
        return story


def tonights_stories(network: Network, calendar: Calendar, now: datetime) -> list[Story]:
    """Returns the stories of tonight, in most of the states that a referral can have."""
    builder = StoryBuilder(network, calendar, now)
    add_story = builder.add_story
    m, h, d = _minutes, _hours, _days

    def accept_step(ago: timedelta, contact_in: timedelta) -> tuple[timedelta, str, dict[str, Any]]:
        fields = {"responsible_worker_id": "", "planned_first_contact_time": contact_in}
        return ago, "accept", fields

    # From the line: one referral must be answered in minutes, one is being decided, one has a
    # health deadline, and one is accepted.
    add_story(
        "tonight",
        "HOU.EMG",
        "luna-nueva/camas",
        IMMEDIATE,
        m(9),
        (m(6), "send"),
        contact_id=id_of("contact", "tonight"),
    )
    add_story(
        "protection",
        "PRO.ORD",
        "gobernacion/medidas",
        IMMEDIATE,
        m(34),
        (m(31), "send"),
        (m(22), "acknowledge"),
        contact_id=id_of("contact", "protection"),
    )
    add_story(
        "hospital",
        "MED.SVC",
        "hospital-chinandega/violencia",
        EMERGENCY,
        h(20.6),
        (h(20.5), "send"),
        (h(20.1), "acknowledge"),
        contact_id=id_of("contact", "hospital"),
    )
    add_story(
        "hospital",
        "HOU.EMG",
        "casa-amanecer/camas",
        EMERGENCY,
        h(25),
        (h(24.9), "send"),
        (h(24.5), "acknowledge"),
        accept_step(h(22), h(1.5)),
        contact_id=id_of("contact", "hospital"),
    )
    # Sent, and not seen yet: one is due soon, one is late, two have time left.
    add_story("rosa", "HOU.SAFE", "casa-amanecer/camas", EMERGENCY, m(58), (m(48), "send"))
    add_story("darling", "MED.PRI", "salud-somoto/primaria", URGENT, h(31), (h(30), "send"))
    add_story("keyling", "EDU.SCH", "instituto-chinandega/secundaria", NORMAL, h(6), (h(5), "send"))
    add_story("newcomer", "PSS.CNS", "puentes/acogida", NORMAL, h(23), (h(22), "send"))
    # Seen, and not decided yet: one is due in three hours, one waits for an answer to a question,
    # one has time left.
    add_story(
        "marcia",
        "LEG.INF",
        "justicia-cercana/informacion",
        URGENT,
        h(70),
        (h(69), "send"),
        (h(52), "acknowledge"),
    )
    add_story(
        "ulises",
        "PSS.CNS",
        "tejer-redes/consejeria",
        NORMAL,
        d(4),
        (d(3.5), "send"),
        (d(2.2), "ask", {"question_code": "dates"}),
    )
    add_story(
        "abroad",
        "RET.REC",
        "mision/recepcion",
        URGENT,
        h(28),
        (h(27), "send"),
        (h(20), "acknowledge"),
    )
    # On a waiting list: one is to be reviewed in six days, one should have been reviewed yesterday.
    waitlist_fields = {"expected_wait_days": 21, "review_time": d(6)}
    add_story(
        "keyling",
        "HOU.TRANS",
        "luna-nueva/transicion",
        NORMAL,
        d(3),
        (d(2.9), "send"),
        (d(2.5), "acknowledge"),
        (d(1), "waitlist", waitlist_fields),
    )
    waitlist_fields = {"expected_wait_days": 10, "review_time": -d(1)}
    add_story(
        "olman",
        "LEG.REP",
        "justicia-cercana/representacion",
        NORMAL,
        d(12),
        (d(12), "send"),
        (d(9), "waitlist", waitlist_fields),
    )
    # Accepted: one first contact is planned for 16 hours from now, one was due 12 hours ago.
    add_story(
        "sugey",
        "HOU.SAFE",
        "luna-nueva/camas",
        URGENT,
        h(30),
        (h(29), "send"),
        (h(26), "acknowledge"),
        accept_step(h(20), h(16)),
    )
    add_story(
        "gaby",
        "PSS.CNS",
        "casa-jicaro/psicologia",
        EMERGENCY,
        h(33),
        (h(32.5), "send"),
        (h(32), "acknowledge"),
        accept_step(h(30), -h(12)),
    )
    # Help is under way: one goes well, with an appointment the day after tomorrow; one has
    # been silent for nine days; one began yesterday, with an appointment two hours ago.
    _add_started(
        add_story,
        "rosa",
        "PSS.CNS",
        "tejer-redes/consejeria",
        NORMAL,
        d(6),
        d(3),
        (h(20), "schedule_appointment", {"appointment_time": d(2)}),
    )
    _add_started(
        add_story, "elieth", "PSS.PFA", "tejer-redes/primeros-auxilios", URGENT, d(12), d(9)
    )
    _add_started(
        add_story,
        "elieth",
        "MED.SRH",
        "salud-chinandega/reproductiva",
        URGENT,
        d(3),
        d(1),
        (h(12), "schedule_appointment", {"appointment_time": -h(2)}),
    )
    # Completed, and the sender must still confirm that help came: one has nine days left, one three
    # hours.
    completion = {"outcome_code": "fully_met", "delivered_need_codes": ("DOC.BIR", "DOC.IDN")}
    _add_started(
        add_story,
        "suyen",
        "DOC.BIR",
        "alcaldia-chinandega/registro",
        NORMAL,
        d(12),
        d(9),
        (d(5), "complete", completion),
    )
    completion = {"outcome_code": "fully_met", "delivered_need_codes": ("RET.TRA",)}
    _add_started(
        add_story,
        "return",
        "RET.TRA",
        "mision/viaje",
        URGENT,
        d(20),
        d(17),
        (h(14 * 24 - 3), "complete", completion),
    )
    # Over: two closed after help came, two declined, one withdrawn, two ended because the person
    # withdrew consent.
    completion = {"outcome_code": "fully_met", "delivered_need_codes": ("MAT.FOD", "MAT.NFI")}
    help_came = {"help_came_code": "yes"}
    _add_started(
        add_story,
        "marcia",
        "MAT.FOD",
        "alcaldia-chinandega/ayuda",
        NORMAL,
        d(9),
        d(7),
        (d(7), "complete", completion),
        (d(5), "close", help_came),
    )
    completion = {"outcome_code": "partly_met", "delivered_need_codes": ("LIV.JOB",)}
    _add_started(
        add_story,
        "ulises",
        "LIV.JOB",
        "hilo-firme/empleo",
        NORMAL,
        d(20),
        d(16),
        (d(4), "complete", completion),
        (d(2), "close", help_came),
    )
    no_capacity = {
        "reason_code": "no_capacity",
        "alternative_service_id": network.offers["luna-nueva", "transicion"].id,
    }
    add_story(
        "tamara",
        "HOU.TRANS",
        "casa-amanecer/transicion",
        URGENT,
        h(9),
        (h(8), "send"),
        (h(6), "acknowledge"),
        (h(3), "decline", no_capacity),
    )
    funding_ended = {"reason_code": "funding_ended", "alternative_service_id": ""}
    add_story(
        "benito",
        "LIV.BIZ",
        "segovias/microempresa",
        NORMAL,
        d(5),
        (d(5), "send"),
        (d(4), "decline", funding_ended),
    )
    changed_mind = {"reason_code": "person_changed_mind"}
    add_story(
        "keyling",
        "PSS.GRP",
        "las-ceibas/grupo",
        NORMAL,
        d(8),
        (d(7.8), "send"),
        (d(7), "acknowledge"),
        (d(6), "withdraw", changed_mind),
    )
    add_story(
        "arlen",
        "FAM.MED",
        "raices/reunificacion",
        NORMAL,
        d(7),
        (d(6.9), "send"),
        (d(6.2), "acknowledge"),
        (d(2), "withdraw_consent"),
    )
    accepted_steps = ((d(5.9), "send"), (d(5), "acknowledge"), accept_step(d(4), d(1)))
    add_story(
        "marcia",
        "PSS.CNS",
        "tejer-redes/consejeria",
        NORMAL,
        d(6),
        *accepted_steps,
        (h(20), "withdraw_consent"),
    )
    # Not seen for two days.
    add_story("darling", "PSS.CNS", "tejer-redes/consejeria", EMERGENCY, h(50), (h(49.9), "send"))
    # Accepted, but the person could not be reached.
    not_reached = {"reason_code": "could_not_contact"}
    add_story(
        "olman",
        "PSS.PSY",
        "hospital-managua/psiquiatria",
        URGENT,
        d(9),
        (d(9), "send"),
        accept_step(d(8), -d(6)),
        (d(4), "not_deliver", not_reached),
    )
    # A journey from Guatemala to Chinandega. The escort and the receiving house have accepted; the
    # border has not, so the person does not leave yet.
    add_story(
        "journey",
        "HOU.SAFE",
        "luna-nueva/camas",
        NORMAL,
        d(4),
        (d(3.9), "send"),
        (d(3.5), "acknowledge"),
        accept_step(d(3), d(6)),
    )
    add_story(
        "journey",
        "RET.TRA",
        "mision/viaje",
        NORMAL,
        d(3),
        (d(2.9), "send"),
        (d(2.5), "acknowledge"),
        accept_step(d(2), d(5)),
    )
    add_story(
        "journey",
        "RET.REC",
        "migracion/recepcion",
        NORMAL,
        h(20),
        (h(19), "send"),
        (h(9), "acknowledge"),
    )
    # Nobody answered overnight, so another house is to be asked; the draft for it waits for the
    # consent of the person.
    add_story(
        "keyling",
        "HOU.EMG",
        "casa-amanecer/camas",
        EMERGENCY,
        h(9.2),
        (h(9), "send"),
        (m(20), "reroute", ("luna-nueva", "camas")),
    )
    # Not sent yet.
    add_story("benito", "MED.PRI", "salud-somoto/primaria", NORMAL, h(3))
    add_story("gaby", "EDU.SCH", "instituto-chinandega/secundaria", NORMAL, h(2))
    return builder.stories


def _add_started(
    add_story: Callable[..., Story],
    person: str,
    need: str,
    offer: str,
    urgency: Urgency,
    draft_age: timedelta,
    start_age: timedelta,
    *further_steps: tuple[Any, ...],
) -> Story:
    """Adds a story with the ordinary steps up to the start of help, and then `further_steps`."""
    send_age = draft_age - timedelta(minutes=20)
    acknowledge_age = send_age - timedelta(hours=2)
    accept_age = acknowledge_age - timedelta(hours=12)
    plan = {"responsible_worker_id": "", "planned_first_contact_time": -start_age}
    start = {"first_contact_time": -start_age}
    return add_story(
        person,
        need,
        offer,
        urgency,
        draft_age,
        (send_age, "send"),
        (acknowledge_age, "acknowledge"),
        (accept_age, "accept", plan),
        (start_age, "start", start),
        *further_steps,
    )


def _minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def _hours(number: float) -> timedelta:
    return timedelta(hours=number)


def _days(number: float) -> timedelta:
    return timedelta(days=number)
