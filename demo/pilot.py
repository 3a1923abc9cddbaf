"""The pilot of 2006 as history: 26 synthetic people, each with a file and referrals.

They were assisted from January to October; 13 came from Chinandega. Only these totals were
published. People, dates and everything else are made up, and are the same in every run. Every story
ends within 2006.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from demo.network import Network, id_of
from demo.story import File, Story
from services.referrals.files.domain.person import Coarse, Identity, Person, SafeContact, age_band
from services.referrals.network.domain.deadline import Calendar, Urgency

TOTAL, FROM_CHINANDEGA = 26, 13
LAST_DAY = datetime(2006, 12, 22, tzinfo=UTC)


class AssistedPerson(NamedTuple):
    """A person: first day, identity, origin, country of exploitation, holder of the file, and help.

    `help` names the groups of needs that were requested.
    """

    day: str
    given: str
    family: str
    birth_date: str
    gender: str
    department: str
    taken_to: str
    holder: str
    help: str


ROWS = (
    AssistedPerson(
        "2006-01-17",
        "Yahaira",
        "Suazo Meza",
        "1984-03-02",
        "F",
        "NI-CI",
        "SV",
        "consulado-sv",
        "RET HOU MED PSS",
    ),
    AssistedPerson(
        "2006-01-26",
        "Karelia",
        "Osejo",
        "1987-11-19",
        "F",
        "NI-CI",
        "GT",
        "casa-nahual",
        "RET MED PSS",
    ),
    AssistedPerson(
        "2006-02-08",
        "Deyling",
        "Maradiaga",
        "1990-06-30",
        "F",
        "NI-MD",
        "SV",
        "familia",
        "HOU PSS FAM",
    ),
    AssistedPerson(
        "2006-02-21",
        "Mayra",
        "Espinal Cruz",
        "1979-01-14",
        "F",
        "NI-CI",
        "SV",
        "mision",
        "HOU MED PSS",
    ),
    AssistedPerson(
        "2006-03-03",
        "Jessenia",
        "Tinoco",
        "1988-01-08",
        "F",
        "NI-NS",
        "GT",
        "casa-nahual",
        "RET MED PSS",
    ),
    AssistedPerson(
        "2006-03-14",
        "Scarleth",
        "Padilla",
        "1991-02-25",
        "F",
        "NI-CI",
        "SV",
        "familia",
        "HOU MED PSS FAM",
    ),
    AssistedPerson(
        "2006-03-27",
        "Hazel",
        "Obando Reyes",
        "1982-07-11",
        "F",
        "NI-LE",
        "CR",
        "rutas",
        "RET HOU PSS",
    ),
    AssistedPerson(
        "2006-04-06",
        "Norlan",
        "Zambrana",
        "1980-12-05",
        "M",
        "NI-CI",
        "US",
        "harbor",
        "RET MED LEG",
    ),
    AssistedPerson(
        "2006-04-20",
        "Ligia",
        "Carcache",
        "1985-05-23",
        "F",
        "NI-MN",
        "CR",
        "rutas",
        "RET HOU MED PSS",
    ),
    AssistedPerson(
        "2006-05-05",
        "Francis",
        "Moncada",
        "1986-10-17",
        "F",
        "NI-CI",
        "SV",
        "puentes",
        "HOU MED PSS",
    ),
    AssistedPerson(
        "2006-05-16",
        "Anielka",
        "Vílchez",
        "1983-04-09",
        "F",
        "NI-MD",
        "MX",
        "frontera-sur",
        "RET MED PSS",
    ),
    AssistedPerson(
        "2006-05-29",
        "Belkis",
        "Dormuz",
        "1986-08-28",
        "F",
        "NI-CI",
        "SV",
        "consulado-sv",
        "RET HOU PSS",
    ),
    AssistedPerson(
        "2006-06-07",
        "Orfilia",
        "Castellón",
        "1977-03-18",
        "F",
        "NI-CI",
        "GT",
        "mision",
        "HOU MED LEG",
    ),
    AssistedPerson(
        "2006-06-15",
        "Dixiana",
        "Ráudez",
        "1992-01-07",
        "F",
        "NI-NS",
        "SV",
        "familia",
        "HOU MED PSS FAM",
    ),
    AssistedPerson(
        "2006-06-28",
        "Wendoly",
        "Ampié",
        "1984-11-02",
        "TF",
        "NI-MN",
        "US",
        "harbor",
        "RET HOU MED PSS",
    ),
    AssistedPerson(
        "2006-07-04",
        "Marling",
        "Cerrato",
        "1988-05-13",
        "F",
        "NI-CI",
        "SV",
        "mision",
        "HOU MED PSS",
    ),
    AssistedPerson(
        "2006-07-13",
        "Isolina",
        "Huete",
        "1981-09-26",
        "F",
        "NI-ES",
        "MX",
        "frontera-sur",
        "RET MED PSS",
    ),
    AssistedPerson(
        "2006-07-25", "Elvin", "Matute", "1978-06-16", "M", "NI-MD", "US", "harbor", "RET MED"
    ),
    AssistedPerson(
        "2006-08-03",
        "Yubelka",
        "Rocha Sáenz",
        "1991-12-21",
        "F",
        "NI-CI",
        "GT",
        "familia",
        "HOU PSS FAM",
    ),
    AssistedPerson(
        "2006-08-15",
        "Arelys",
        "Buitrago",
        "1985-02-04",
        "F",
        "NI-LE",
        "SV",
        "puentes",
        "HOU MED PSS LEG",
    ),
    AssistedPerson(
        "2006-08-29", "Thelma", "Siles", "1980-10-10", "F", "NI-CI", "CR", "rutas", "RET MED PSS"
    ),
    AssistedPerson(
        "2006-09-06", "Jeimy", "Larios", "1987-07-29", "F", "NI-RI", "CR", "rutas", "RET HOU MED"
    ),
    AssistedPerson(
        "2006-09-14",
        "Cándida",
        "Peralta Mejía",
        "1976-04-22",
        "F",
        "NI-MD",
        "GT",
        "parroquia-somoto",
        "HOU MED PSS",
    ),
    AssistedPerson(
        "2006-09-26",
        "Ruth",
        "Escorcia",
        "1987-03-31",
        "F",
        "NI-CI",
        "SV",
        "consulado-sv",
        "RET HOU MED PSS",
    ),
    AssistedPerson(
        "2006-10-05",
        "Grethel",
        "Tercero",
        "1986-01-27",
        "F",
        "NI-NS",
        "CR",
        "puentes",
        "HOU MED PSS",
    ),
    AssistedPerson(
        "2006-10-17",
        "Leyla",
        "Montiel",
        "1983-08-06",
        "F",
        "NI-CI",
        "MX",
        "frontera-sur",
        "RET HOU MED PSS",
    ),
)

# Services by department of origin; `_offer` names the services for all other departments and for
# children.
_HOUSING = {
    "NI-CI": ("luna-nueva", "camas"),
    "NI-MN": ("casa-amanecer", "camas"),
    "NI-LE": ("luna-nueva", "camas"),
}
_MEDICAL = {
    "NI-CI": ("salud-chinandega", "primaria"),
    "NI-MD": ("salud-somoto", "primaria"),
    "NI-NS": ("salud-ocotal", "primaria"),
}
_PSYCHOSOCIAL = {"NI-CI": ("tejer-redes", "consejeria"), "NI-LE": ("las-ceibas", "consejeria")}
_PSYCHOSOCIAL |= dict.fromkeys(("NI-MD", "NI-ES", "NI-NS"), ("segovias", "consejeria"))
_FAMILY = {"NI-CI": ("familia-chinandega", "valoracion")} | dict.fromkeys(
    ("NI-MD", "NI-NS"), ("raices", "reunificacion")
)
_NEEDS = {"MED": "MED.PRI", "PSS": "PSS.CNS", "RET": "RET.TRA", "FAM": "FAM.MED", "LEG": "LEG.INF"}
_URGENCIES = {"HOU": Urgency.EMERGENCY, "MED": Urgency.URGENT, "RET": Urgency.URGENT}
# Shortest and longest time from the start of help to its end, in days. The journey home comes
# first, and all other help after it.
_DAYS = {
    "RET": (2, 6),
    "HOU": (20, 60),
    "MED": (3, 15),
    "PSS": (30, 70),
    "FAM": (15, 45),
    "LEG": (10, 30),
}
# Family names of the people whom the first shelter turned away for lack of a bed.
_TURNED_AWAY = {"Suazo Meza", "Moncada", "Cerrato", "Escorcia"}
_GENDERS = {"F": "Feminine", "M": "Masculine", "TF": "TransgenderFeminine"}


def pilot(network: Network, calendar: Calendar) -> Iterator[tuple[File, list[Story]]]:
    """Yields the 26 files with their referrals."""
    for row in ROWS:
        chance = random.Random(f"{row.given} {row.family}")
        file = _file(network, row, chance)
        yield file, list(_stories(network, calendar, row, file, chance))


def _file(network: Network, row: AssistedPerson, chance: random.Random) -> File:
    open_time = _office_hour(datetime.fromisoformat(row.day).replace(tzinfo=UTC), chance)
    coarse = Coarse(
        age_band(row.birth_date, open_time.date()),
        _GENDERS[row.gender],
        "es",
        chance.choice((0, 0, 1, 2)),
        "NI",
        row.department,
    )
    person = Person(
        id=id_of("person", row.given, row.family),
        organization_id=network.members[row.holder].id,
        coarse=coarse,
        create_time=open_time,
        update_time=open_time,
        trafficking_status_code="ActualVictimOfTrafficking",
        exploitation_country=row.taken_to,
        has_identity=True,
        safe_contact_channel="through_worker",
    )
    identity = Identity(
        row.given,
        row.family,
        row.birth_date,
        exploitation_note="Le ofrecieron un empleo que no existía.",
    )
    return File(
        person,
        identity,
        SafeContact("through_worker"),
        row.holder,
        "guardian" if coarse.age_band == "12-17" else "person",
    )


def _stories(
    network: Network, calendar: Calendar, row: AssistedPerson, file: File, chance: random.Random
) -> Iterator[Story]:
    earliest_time = file.person.create_time
    for group in row.help.split():
        draft_time = earliest_time + timedelta(minutes=chance.randint(20, 180))
        offer = _offer(row, group, file.giver == "guardian")
        need = _NEEDS.get(group) or next(
            need for need in network.offers[offer].needs if need.startswith(group)
        )

        def send_referral(
            at: datetime,
            offer: tuple[str, str],
            need: str = need,
            group: str = group,
            based_on: str = "",
        ) -> Story:
            urgency = _URGENCIES.get(group, Urgency.NORMAL)
            story = Story(
                network,
                file,
                need,
                offer,
                urgency,
                at,
                calendar,
                has_deadlines=False,
                based_on=based_on,
            )
            return story.send(at + timedelta(minutes=chance.randint(5, 40)))

        story = send_referral(draft_time, offer)
        if group == "HOU" and row.family in _TURNED_AWAY:
            answer_time = draft_time + timedelta(hours=2, minutes=chance.randint(0, 59))
            story.take(
                answer_time,
                "decline",
                reason_code="no_capacity",
                alternative_service_id=network.offers["casa-amanecer", "camas"].id,
            )
            draft_time = answer_time + timedelta(minutes=chance.randint(10, 90))
            following = send_referral(
                draft_time, ("casa-amanecer", "camas"), based_on=story.referral.id
            )
            yield story.record_follow_up(following)
            story = following
        completion_time = _take_steps(story, draft_time, group, chance)
        if group == "RET":
            earliest_time = completion_time
        yield story


def _take_steps(story: Story, draft_time: datetime, group: str, chance: random.Random) -> datetime:
    """Takes the ordinary steps of a referral, from its acknowledgement to its closing.

    Returns the time when help was completed.
    """
    acknowledge_time = draft_time + timedelta(minutes=chance.randint(45, 170))
    decision_time = acknowledge_time + timedelta(hours=chance.randint(1, 20))
    start_time = _office_hour(decision_time + timedelta(days=1), chance)
    shortest, longest = _DAYS[group]
    completion_time = _office_hour(
        start_time + timedelta(days=chance.randint(shortest, longest)), chance
    )
    completion_time = min(completion_time, LAST_DAY - timedelta(days=chance.randint(3, 9)))
    closing_time = _office_hour(completion_time + timedelta(days=chance.randint(1, 6)), chance)
    worker = story.receiver.id
    story.take(acknowledge_time, "acknowledge")
    story.take(
        decision_time, "accept", responsible_worker_id=worker, planned_first_contact_time=start_time
    )
    story.take(start_time, "start", first_contact_time=start_time)
    outcome = chance.choice(
        ("fully_met", "fully_met", "fully_met", "partly_met", "ongoing_with_provider")
    )
    story.take(
        completion_time, "complete", outcome_code=outcome, delivered_need_codes=(story.need,)
    )
    story.take(
        min(closing_time, LAST_DAY),
        "close",
        help_came_code=chance.choice(("yes", "yes", "yes", "yes", "could_not_reach")),
    )
    return completion_time


def _offer(row: AssistedPerson, group: str, child: bool) -> tuple[str, str]:
    if child and group in ("HOU", "PSS"):
        return "casa-jicaro", "camas" if group == "HOU" else "psicologia"
    return {
        "RET": ("mision", "viaje"),
        "HOU": _HOUSING.get(row.department, ("pastoral-norte", "acogida")),
        "MED": _MEDICAL.get(row.department, ("hospital-managua", "externa")),
        "PSS": _PSYCHOSOCIAL.get(row.department, ("puentes", "acogida")),
        "FAM": _FAMILY.get(row.department, ("familia", "reunificacion")),
        "LEG": ("justicia-cercana", "informacion"),
    }[group]


def _office_hour(day: datetime, chance: random.Random) -> datetime:
    """Returns a time on that day between 8:00 and 16:00 in Nicaragua (UTC-6)."""
    return day.replace(hour=14, minute=0) + timedelta(minutes=chance.randint(0, 480))
