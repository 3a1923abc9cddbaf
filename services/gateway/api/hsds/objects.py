"""The public part of the directory as objects of HSDS 3 (https://docs.openreferral.org).

Fields that HSDS lacks have names that begin with x_. Ids are UUIDs, as HSDS requires: ours are the
same 128 bits without hyphens. If we have no id for an object, its id is derived from its owner's.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any
from uuid import UUID, uuid5

from werkzeug.urls import iri_to_uri

from chassis.wire import words
from protos.areas import DEPARTMENTS, MUNICIPALITIES
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as l
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.api.convert import rfc3339

VERSION = "3.0"
_NAMESPACE = UUID("6f1d7a0e-3c0b-5a52-9d0e-0c6a7a2f4b11")
_EVERY_DAY = "MO,TU,WE,TH,FR,SA,SU"
_LANGUAGE = "es"
_CHARACTERS = r"[\w.~!$&'()*+,;=:@/%-]"
# A URI of http or https according to RFC 3986: user, host, port, path and query, fragment. Two
# hexadecimal digits follow each %.
_URI = re.compile(
    rf"(?!.*%(?![0-9A-Fa-f]{{2}}))https?://([\w.~%:-]*@)?([\w.~%-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?([/?]({_CHARACTERS}|\?)*)?(#({_CHARACTERS}|\?)*)?",
    re.ASCII,
)
JsonObject = dict[str, Any]


def uuid(id: str) -> str:
    """Returns one of our ids as a UUID."""
    return str(UUID(id))


def derived_id(*path: str) -> str:
    """Returns an id for an object that has none, derived from its owner's id."""
    return str(uuid5(_NAMESPACE, "/".join(path)))


TAXONOMY_ID = derived_id("taxonomies", "enlace")


def term_id(code: str) -> str:
    """Returns the id of a code of the taxonomy."""
    return derived_id("taxonomy_terms", code)


def uri(address: str) -> str:
    """Converts a web address as people write it, with ñ for example, to the URI that HSDS needs.

    Returns "" if the address cannot be converted.
    """
    try:
        ascii_uri = iri_to_uri(address)
    except ValueError:  # the host can't be encoded, or the port is not a number
        return ""
    return ascii_uri if _URI.fullmatch(ascii_uri) else ""


def organization(message: d.Organization, *, full: bool = False) -> JsonObject:
    """Returns an organisation, with its phone and languages if `full`."""
    core: JsonObject = {
        "id": uuid(message.id),
        "name": message.name,
        "description": message.description,
        "website": uri(message.url),
        "x_type": words(d.OrganizationType.DESCRIPTOR).get(message.type, ""),
        "x_country": message.country,
        "x_department": message.department,
        "x_hotline_number": message.hotline_number,
    }
    further_fields: JsonObject = (
        {"phones": _phone(message.phone, message.id), "x_languages": list(message.languages)}
        if full
        else {}
    )
    return _without_empty(core, "description") | {
        name: value for name, value in further_fields.items() if value
    }


def service(
    message: o.PublicService, terms: Mapping[str, d.TaxonomyTerm], *, full: bool = False
) -> JsonObject:
    """Returns a service with its organisation, and with everything that belongs to it if `full`."""
    listed_service = message.service
    eligibility = listed_service.eligibility
    core: JsonObject = {
        "id": uuid(listed_service.id),
        "name": listed_service.name,
        "description": listed_service.description,
        "status": "active",
        "assured_date": listed_service.assured_time.ToDatetime(tzinfo=UTC).date().isoformat()
        if listed_service.HasField("assured_time")
        else "",
        "last_modified": rfc3339(message.modify_time.ToDatetime(tzinfo=UTC)),
        **{
            name: getattr(eligibility, name)
            for name in ("minimum_age", "maximum_age")
            if eligibility.HasField(name)
        },
        "organization": organization(message.organization),
        "x_need_codes": list(listed_service.need_codes),
        "x_country": listed_service.country,
        "x_department": listed_service.department,
        "x_genders": [words(d.Gender.DESCRIPTOR)[gender] for gender in eligibility.genders],
        **{
            f"x_{name}": getattr(eligibility, name)
            for name in (
                "takes_dependants",
                "maximum_dependants",
                "takes_pregnant",
                "takes_with_addiction",
                "takes_without_papers",
                "maximum_age_of_boys",
            )
            if eligibility.HasField(name)
        },
    }
    if not full:
        return _without_empty(core)
    further_fields: JsonObject = {
        "organization": organization(message.organization, full=True),
        "phones": _phone(listed_service.phone, listed_service.id),
        "schedules": _schedules(listed_service.schedules, listed_service.id),
        "languages": _languages(listed_service.languages, listed_service.id),
        "service_areas": [
            _area(code, listed_service.id)
            for code in listed_service.area_codes
            or [listed_service.department or listed_service.country]
        ],
        "attributes": [
            _attribute(code, listed_service.id, terms) for code in listed_service.need_codes
        ],
        "service_at_locations": [
            _service_at_location(place) for place in message.service_at_locations
        ],
        "x_accessibility": [
            words(d.Accessibility.DESCRIPTOR)[code] for code in listed_service.accessibility
        ],
    }
    return _without_empty(core | further_fields)


def service_at_location(
    message: o.PublicService, terms: Mapping[str, d.TaxonomyTerm], *, full: bool = False
) -> JsonObject:
    """Returns a service at one location, with phones and schedules if `full`.

    The message holds only this location.
    """
    place = message.service_at_locations[0]
    core = (
        _service_at_location(place)
        if full
        else {"id": uuid(place.id), "location": _location(place.location)}
    )
    return {**core, "service": service(message, terms)}


def minimal(message: o.PublicService) -> JsonObject:
    """Returns only the id and date, for a reader who wants to know which services have changed."""
    return {
        "id": uuid(message.service.id),
        "modified_date": rfc3339(message.modify_time.ToDatetime(tzinfo=UTC)),
    }


def taxonomy() -> JsonObject:
    """Returns the only taxonomy."""
    return {
        "id": TAXONOMY_ID,
        "name": "Enlace",
        "description": (
            "Kinds of help for survivors of human trafficking, in two levels;"
            " each with the HTCDS 2.0 type that it is."
        ),
    }


def term(message: d.TaxonomyTerm, *, full: bool = True) -> JsonObject:
    """Returns a code of the taxonomy."""
    return _without_empty(
        {
            "id": term_id(message.code),
            "code": message.code,
            "name": message.names[_LANGUAGE] or message.code,
            "description": " / ".join(message.names[language] for language in sorted(message.names))
            or message.code,
            "parent_id": term_id(message.parent_code) if message.parent_code else "",
            "taxonomy": "Enlace",
            "taxonomy_id": TAXONOMY_ID,
            "language": _LANGUAGE,
            "taxonomy_detail": taxonomy() if full else {},
            "x_htcds_types": list(message.htcds_spl_types),
        }
    )


def _service_at_location(message: l.ServiceAtLocation) -> JsonObject:
    return _without_empty(
        {
            "id": uuid(message.id),
            "phones": [
                _without_empty(
                    {
                        "id": derived_id(message.id, "phones", *line),
                        "number": phone.number,
                        # HSDS has a number here; 012 as 12 would reach another desk
                        **(
                            {"extension": int(phone.extension)}
                            if re.fullmatch(r"0|[1-9][0-9]*", phone.extension)
                            else {"x_extension": phone.extension}
                        ),
                        "description": phone.description,
                        "languages": _languages(phone.languages, derived_id(message.id, *line)),
                    }
                )
                for phone in message.phones
                for line in [[text for text in (phone.number, phone.extension) if text]]
            ],
            "schedules": _schedules(message.schedules, message.id),
            "x_languages": list(message.languages),
            "location": _location(message.location),
        }
    )


def _location(message: l.Location) -> JsonObject:
    point = (
        {"latitude": message.latitude, "longitude": message.longitude}
        if message.HasField("latitude")
        else {}
    )
    return _without_empty(
        {
            "id": uuid(message.id),
            "location_type": "physical",
            "name": message.name,
            "transportation": message.transportation,
            **point,
            "addresses": [_address(message)] if message.address else [],
            "accessibility": [
                {"id": derived_id(message.id, "accessibility", word), "description": word}
                for word in (
                    words(d.Accessibility.DESCRIPTOR)[code] for code in message.accessibility
                )
            ],
            "x_country": message.country,
            "x_department": message.department,
            "x_area_code": message.area_code,
        }
    )


def _address(message: l.Location) -> JsonObject:
    """Returns the address of a location.

    HSDS requires a city and a postal code. The city is empty if no municipality is stated. The
    postal code is always empty, because people describe how to get there instead.
    """
    return {
        "id": derived_id(message.id, "addresses"),
        "address_1": message.address,
        "city": area_name(message.area_code),
        "state_province": area_name(message.department),
        "postal_code": "",
        "country": message.country,
        "address_type": "physical",
    }


def _phone(number: str, owner_id: str) -> list[JsonObject]:
    return (
        [{"id": derived_id(owner_id, "phones", number), "number": number, "type": "voice"}]
        if number
        else []
    )


def _schedules(schedules: Iterable[d.Schedule], owner_id: str) -> list[JsonObject]:
    return [
        _without_empty(
            {
                "id": derived_id(owner_id, "schedules", str(number)),
                "freq": words(d.Frequency.DESCRIPTOR)[schedule.freq].upper(),
                "byday": ",".join(schedule.byday) or _EVERY_DAY,
                "opens_at": schedule.opens_at,
                "closes_at": schedule.closes_at,
                "valid_from": schedule.valid_from,
                "valid_to": schedule.valid_to,
                "x_holidays": schedule.holidays,
            }
        )
        for number, schedule in enumerate(schedules)
    ]


def _languages(tags: Iterable[str], owner_id: str) -> list[JsonObject]:
    return [{"id": derived_id(owner_id, "languages", tag), "code": tag} for tag in tags]


def _area(code: str, owner_id: str) -> JsonObject:
    return {
        "id": derived_id(owner_id, "service_areas", code),
        "name": area_name(code) or code,
        "x_area_code": code,
    }


def _attribute(code: str, owner_id: str, terms: Mapping[str, d.TaxonomyTerm]) -> JsonObject:
    taxonomy_term = {"taxonomy_term": term(terms[code], full=False)} if code in terms else {}
    return {
        "id": derived_id(owner_id, "attributes", code),
        "link_id": uuid(owner_id),
        "link_entity": "service",
        "link_type": "service",
        "taxonomy_term_id": term_id(code),
        **taxonomy_term,
    }


def _without_empty(values: JsonObject, *always: str) -> JsonObject:
    """Returns the object without its empty values, except for those named in `always`."""
    return {
        name: value
        for name, value in values.items()
        if name in always or not (value is None or value == "" or value in ([], {}))
    }


def area_name(code: str) -> str:
    """Returns the name of a subdivision or a municipality; "" for a country or an unknown code."""
    return DEPARTMENTS.get(code) or MUNICIPALITIES.get(code.partition(".")[0], {}).get(code, "")
