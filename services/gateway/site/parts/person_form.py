"""The questions about a person, the same for a new referral and for a new file.

All fields except the channel of the safe-contact plan may stay empty.
"""

import re
from datetime import date

from chassis import wire
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import forms

IDENTITY = tuple(field.name for field in p.Identity.DESCRIPTOR.fields if not field.is_repeated)
SEALED = (*IDENTITY, *p.SafeContact.DESCRIPTOR.fields_by_name)
COARSE = (
    "age",
    *r.CoarsePerson.DESCRIPTOR.fields_by_name,
    "exploitation_country",
    "trafficking_status_code",
)
MAX_YEARS = 120
# Each age band by its first age in years. The contract has only bands, no ages in years.
BANDS = {
    int(re.split("[-+]", word)[0]): r.AgeBand.ValueType(number)
    for number, word in wire.words(r.AgeBand.DESCRIPTOR).items()
    if word
}


def age_problems() -> dict[str, str]:
    """Returns the problems of an age in years: it is impossible, or outside the chosen band.

    Neither the age nor the band silently replaces the other.
    """
    if not forms.text("age"):
        return {}
    years, chosen_band = forms.whole_number("age"), words.number("age_band", forms.text("age_band"))
    if years is None or years > MAX_YEARS:
        return {
            "age": _(
                "escriba los años con cifras, de 0 a %(most)d; si no los sabe, déjelo vacío",
                most=MAX_YEARS,
            )
        }
    return (
        {"age_band": _("no coincide con los años; deje solo uno de los dos")}
        if chosen_band not in (0, band(years))
        else {}
    )


def birth_problems() -> dict[str, str]:
    """Returns a problem if the birth date contradicts the age in years or the band.

    The age band of a file follows the birth date, so a wrong year would silently turn an adult into
    a child. The service itself rejects an impossible birth date.
    """
    try:
        birth_date = date.fromisoformat(forms.text("birth_date"))
    except ValueError:
        return {}
    today = i18n.today()
    years = (
        today.year
        - birth_date.year
        - ((today.month, today.day) < (birth_date.month, birth_date.day))
    )
    if not 0 <= years <= MAX_YEARS:
        return {}
    typed_age = forms.whole_number("age")
    chosen_band = words.number("age_band", forms.text("age_band"))
    is_consistent = typed_age == years if typed_age is not None else chosen_band in (0, band(years))
    return (
        {}
        if is_consistent
        else {"birth_date": _("no coincide con la edad; deje solo una de las dos")}
    )


def band(years: int) -> r.AgeBand.ValueType:
    return BANDS[max(first_age for first_age in BANDS if first_age <= years)]


def answers_of(person: p.Person) -> dict[str, str]:
    """Returns the unsealed data of a file as values of the form's fields."""
    coarse = person.coarse
    return {
        "age_band": words.code("age_band", coarse.age_band),
        "gender_code": words.code("person_gender", coarse.gender_code),
        "language": coarse.language,
        "dependants": str(coarse.dependants) if coarse.HasField("dependants") else "",
        "country": coarse.country,
        "department": coarse.department,
        "exploitation_country": person.exploitation_country,
        "trafficking_status_code": words.code("trafficking_status", person.trafficking_status_code),
    }


def answers_of_enquiry(content: e.EnquiryContent) -> dict[str, str]:
    """Returns the content of an enquiry as answers to the questions."""
    return {
        "need_code": content.need_code,
        "urgency": words.code("urgency", content.urgency),
        "age_band": words.code("age_band", content.age_band),
        "gender_code": words.code("person_gender", content.gender_code),
        "language": content.languages[0] if content.languages else "",
        "country": content.country,
        "department": content.department,
        "dependants": str(content.dependants) if content.HasField("dependants") else "",
    }


def request_of(request_id: str, country: str) -> p.CreatePersonRequest:
    """Returns the request for a new file.

    `country` is used if the form names neither a country nor a department.
    """
    rpc_request = forms.filled(p.CreatePersonRequest())
    rpc_request.request_id = request_id
    coarse = rpc_request.coarse
    coarse.country = coarse.country or coarse.department[:2] or country
    if (years := forms.whole_number("age")) is not None:
        rpc_request.coarse.age_band = band(years)
    return rpc_request
