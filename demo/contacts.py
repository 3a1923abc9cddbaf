"""The contacts of the lines in the last two days. Callers and words are made up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from demo.campaigns import code
from demo.network import Network, id_of
from demo.people import PEOPLE
from services.referrals.line.domain.contact import HANDED_OVER, Contact
from services.referrals.line.domain.triage import Triage

QUOTING_CONTACTS = ("leaflet", "offer")
"""Contacts whose callers quoted the placement code of a poster or of a radio spot."""


class NotedContact(NamedTuple):
    """A contact with the operator's note."""

    contact: Contact
    note: str


def contacts(network: Network, now: datetime) -> list[NotedContact]:
    """Returns the contacts of the lines in the last two days, the oldest first."""
    noted_contacts: list[NotedContact] = []

    def add_contact(
        slug: str,
        line: str,
        ago: timedelta,
        codes: tuple[str, str, str, str],
        department: str = "",
        need: str = "",
        triage: Triage = Triage(),  # noqa: B008
        note: str = "",
    ) -> None:
        """Adds a contact; `slug` names it. `codes` are campaign, kind, speaker and outcome."""
        campaign, kind, speaker, outcome = codes
        contact = Contact(
            id_of("contact", slug),
            network.members[line].id,
            now - ago,
            now - ago,
            line_country=network.members[line].country,
            campaign_code=campaign,
            placement_code=code(campaign) if slug in QUOTING_CONTACTS else "",
            kind_code=kind,
            speaker_code=speaker,
            language="es",
            triage=triage,
            outcome_code=outcome,
            emergency_number_code="general" if outcome == HANDED_OVER else "",
            department=department,
            need_code=need,
            person_id=id_of("person", slug) if slug in PEOPLE else "",
        )
        contact.check()
        noted_contacts.append(NotedContact(contact, note))

    line_ni = "llama-y-vive-ni"
    add_contact(
        "leaflet",
        line_ni,
        timedelta(hours=46),
        ("poster", "information", "professional", "advised"),
        "NI-LE",
        "INF.RGT",
    )
    triage = Triage(danger_now="no", still_held="no", safe_to_talk="yes")
    note = "Pregunta si una oferta de trabajo en el extranjero es de fiar."
    add_contact(
        "offer",
        line_ni,
        timedelta(hours=41),
        ("radio", "tip", "family", "advised"),
        "NI-MD",
        "INF.HOT",
        triage,
        note,
    )
    triage = Triage(
        danger_now="no", sexual_violence_120h="yes", safe_place_tonight="no", safe_to_talk="yes"
    )
    add_contact(
        "hospital",
        line_ni,
        timedelta(hours=25.5),
        ("tv", "crisis", "person", "referred"),
        "NI-CI",
        "MED.SVC",
        triage,
        "Pide que no se llame a la casa.",
    )
    add_contact("wrong", line_ni, timedelta(hours=16), ("other", "unrelated", "unknown", "dropped"))
    triage = Triage(danger_now="no", need_within_days="yes", exploiters_looking="no")
    add_contact(
        "abroad-cr",
        "llama-y-vive-cr",
        timedelta(hours=12),
        ("web", "crisis", "witness", "handed_over"),
        "",
        "RET.PRE",
        triage,
    )
    triage = Triage(
        danger_now="did_not_say",
        exploiters_looking="yes",
        wants_protection="yes",
        safe_to_talk="yes",
    )
    add_contact(
        "protection",
        line_ni,
        timedelta(minutes=40),
        ("tv", "crisis", "person", "referred"),
        "NI-RI",
        "PRO.ORD",
        triage,
    )
    triage = Triage(
        danger_now="yes",
        still_held="no",
        escape_under_way="yes",
        child_unsafe="yes",
        safe_place_tonight="no",
        safe_to_talk="yes",
    )
    note = "Está con su hija en un lugar público; llama de un teléfono prestado."
    add_contact(
        "tonight",
        line_ni,
        timedelta(minutes=14),
        ("radio", "crisis", "person", "referred"),
        "NI-CI",
        "HOU.EMG",
        triage,
        note,
    )
    add_contact(
        "unfinished",
        line_ni,
        timedelta(minutes=3),
        ("", "crisis", "family", "open"),
        triage=Triage(danger_now="did_not_say"),
    )
    return noted_contacts
