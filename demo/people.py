"""The people of tonight's referrals, with their files. All of them are made up."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from demo.network import Network, id_of
from demo.story import File
from services.referrals.files.domain.person import Coarse, Identity, Person, SafeContact


class KnownPerson(NamedTuple):
    """A person: which member holds her file, her names, coarse attributes, and how to reach her.

    The names are sealed and may both be empty.
    """

    holder: str
    given: str
    family: str
    age_band: str
    gender: str
    dependants: int
    department: str
    taken_to: str = ""
    channel: str = "through_worker"
    status: str = "PossibleVictimOfTrafficking"


PEOPLE = {
    "tonight": KnownPerson(
        "llama-y-vive-ni", "", "", "18-24", "Feminine", 1, "NI-CI", channel="phone"
    ),
    "protection": KnownPerson(
        "llama-y-vive-ni", "Nohemí", "", "25-59", "Feminine", 0, "NI-RI", channel="none"
    ),
    "hospital": KnownPerson(
        "llama-y-vive-ni", "Sayra", "", "18-24", "Feminine", 0, "NI-CI", channel="message"
    ),
    "rosa": KnownPerson(
        "puentes",
        "Rosalpina",
        "Dávila Mora",
        "25-59",
        "Feminine",
        2,
        "NI-MN",
        "CR",
        status="ActualVictimOfTrafficking",
    ),
    "keyling": KnownPerson(
        "puentes",
        "Keyling",
        "Arauz",
        "18-24",
        "Feminine",
        0,
        "NI-CI",
        "SV",
        "message",
        "ActualVictimOfTrafficking",
    ),
    "ulises": KnownPerson(
        "puentes", "Ulises", "Blandón", "25-59", "Masculine", 0, "NI-ES", "MX", "phone"
    ),
    "tamara": KnownPerson(
        "puentes", "Tamara", "Orozco", "18-24", "TransgenderFeminine", 0, "NI-MN", "GT", "message"
    ),
    "elieth": KnownPerson(
        "luna-nueva",
        "Elieth",
        "Cano",
        "18-24",
        "Feminine",
        1,
        "NI-CI",
        "SV",
        status="ActualVictimOfTrafficking",
    ),
    "marcia": KnownPerson(
        "luna-nueva",
        "Marcia",
        "Toval",
        "25-59",
        "Feminine",
        3,
        "NI-CI",
        "GT",
        status="ActualVictimOfTrafficking",
    ),
    "darling": KnownPerson(
        "parroquia-somoto", "Darling", "Pineda", "18-24", "Feminine", 0, "NI-MD", "CR", "visit"
    ),
    "benito": KnownPerson(
        "parroquia-somoto", "Benito", "Cruz Alfaro", "60+", "Masculine", 0, "NI-MD", channel="visit"
    ),
    "gaby": KnownPerson(
        "familia",
        "Gabriela",
        "Mairena Soto",
        "12-17",
        "Feminine",
        0,
        "NI-LE",
        "SV",
        status="ActualVictimOfTrafficking",
    ),
    "arlen": KnownPerson("familia", "Arlen", "Useda", "12-17", "Feminine", 0, "NI-NS", "GT"),
    "sugey": KnownPerson(
        "mision",
        "Sugey",
        "Rostrán",
        "25-59",
        "Feminine",
        1,
        "NI-CI",
        "US",
        "phone",
        "ActualVictimOfTrafficking",
    ),
    "olman": KnownPerson("mision", "Olman", "Chavarría", "25-59", "Masculine", 0, "NI-LE", "CR"),
    "suyen": KnownPerson(
        "tejer-redes", "Suyén", "Martínez Laguna", "18-24", "Feminine", 1, "NI-CI", "SV"
    ),
    "return": KnownPerson(
        "consulado-sv",
        "Fabiola",
        "Téllez",
        "25-59",
        "Feminine",
        2,
        "NI-CI",
        "SV",
        status="ActualVictimOfTrafficking",
    ),
    "abroad": KnownPerson(
        "harbor",
        "Yessica",
        "Pravia",
        "25-59",
        "Feminine",
        0,
        "NI-ES",
        "US",
        "phone",
        "ActualVictimOfTrafficking",
    ),
    "journey": KnownPerson(
        "casa-nahual",
        "Ilse",
        "Madrigal Pozo",
        "25-59",
        "Feminine",
        1,
        "NI-CI",
        "GT",
        status="ActualVictimOfTrafficking",
    ),
    "newcomer": KnownPerson("nuevo-sendero", "Jolieth", "Ríos", "18-24", "Feminine", 0, "NI-RI"),
}


def people(network: Network, now: datetime) -> dict[str, File]:
    """Returns the file of each person, by the key in PEOPLE."""
    files = {}
    for word, known in PEOPLE.items():
        coarse = Coarse(
            known.age_band, known.gender, "es", known.dependants, "NI", known.department
        )
        person = Person(
            id=id_of("person", word),
            organization_id=network.members[known.holder].id,
            coarse=coarse,
            create_time=now,
            update_time=now,
            trafficking_status_code=known.status,
            exploitation_country=known.taken_to,
            has_identity=bool(known.given),
            safe_contact_channel=known.channel,
        )
        plan = SafeContact(
            known.channel,
            "de 9 a 11" if known.channel in ("phone", "message") else "",
            "la tía Chepa",
            "Enlace, albergue",
        )
        giver = "guardian" if known.age_band == "12-17" else "person"
        files[word] = File(person, Identity(known.given, known.family), plan, known.holder, giver)
    return files
