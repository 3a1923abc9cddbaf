"""The public part of the directory as objects of HSDS 3 (https://docs.openreferral.org).

Fields that HSDS lacks have names that begin with x_. Ids are UUIDs, as HSDS requires: ours are the
same 128 bits without hyphens. An object without an id of ours gets one that is derived from its
owner's id.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any
from uuid import UUID, uuid5

from werkzeug.urls import iri_to_uri

from chassis.wire import words
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as l
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.api.convert import rfc3339
from services.gateway.edge.departments import DEPARTMENTS, MUNICIPALITIES

VERSION = "3.0"
_NAMESPACE = UUID("6f1d7a0e-3c0b-5a52-9d0e-0c6a7a2f4b11")
_EVERY_DAY = "MO,TU,WE,TH,FR,SA,SU"
_LANGUAGE = "es"
_CHARACTERS = r"[\w.~!$&'()*+,;=:@/%-]"
# A URI of http or https by RFC 3986: user, host, port, path and query, fragment. Two hexadecimal
# digits follow each %.
_URI = re.compile(
    rf"(?!.*%(?![0-9A-Fa-f]{{2}}))https?://([\w.~%:-]*@)?([\w.~%-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?([/?]({_CHARACTERS}|\?)*)?(#({_CHARACTERS}|\?)*)?",
    re.ASCII,
)
Said = dict[str, Any]


def uuid(id: str) -> str:
    """Returns an id of ours as a UUID."""
    return str(UUID(id))


def made(*of: str) -> str:
    """Returns an id for an object that has none of ours, derived from its owner's id."""
    return str(uuid5(_NAMESPACE, "/".join(of)))


TAXONOMY_ID = made("taxonomies", "enlace")


def term_id(code: str) -> str:
    """Returns the id of a code of the taxonomy."""
    return made("taxonomy_terms", code)


def uri(address: str) -> str:
    """Converts an address as people write it, with ñ and the like, to the URI that HSDS requires.

    Returns "" if the address cannot be converted.
    """
    try:
        made = iri_to_uri(address)
    except ValueError:  # the host can't be encoded, or the port is no number
        return ""
    return made if _URI.fullmatch(made) else ""


def organization(said: d.Organization, *, full: bool = False) -> Said:
    """Returns an organisation, with its phone and languages if `full`."""
    core: Said = {
        "id": uuid(said.id),
        "name": said.name,
        "description": said.description,
        "website": uri(said.url),
        "x_type": words(d.OrganizationType.DESCRIPTOR).get(said.type, ""),
        "x_country": said.country,
        "x_department": said.department,
        "x_hotline_number": said.hotline_number,
    }
    more: Said = (
        {"phones": _phone(said.phone, said.id), "x_languages": list(said.languages)} if full else {}
    )
    return _filled(core, "description") | {name: value for name, value in more.items() if value}


def service(
    said: o.PublicService, terms: Mapping[str, d.TaxonomyTerm], *, full: bool = False
) -> Said:
    """Returns a service with its organisation, and with everything that belongs to it if `full`."""
    one = said.service
    takes = one.eligibility
    core: Said = {
        "id": uuid(one.id),
        "name": one.name,
        "description": one.description,
        "status": "active",
        "assured_date": one.assured_time.ToDatetime(tzinfo=UTC).date().isoformat()
        if one.HasField("assured_time")
        else "",
        "last_modified": rfc3339(said.modify_time.ToDatetime(tzinfo=UTC)),
        **{
            name: getattr(takes, name)
            for name in ("minimum_age", "maximum_age")
            if takes.HasField(name)
        },
        "organization": organization(said.organization),
        "x_need_codes": list(one.need_codes),
        "x_country": one.country,
        "x_department": one.department,
        "x_genders": [words(d.Gender.DESCRIPTOR)[gender] for gender in takes.genders],
        **{
            f"x_{name}": getattr(takes, name)
            for name in (
                "takes_dependants",
                "maximum_dependants",
                "takes_pregnant",
                "takes_with_addiction",
                "takes_without_papers",
                "maximum_age_of_boys",
            )
            if takes.HasField(name)
        },
    }
    if not full:
        return _filled(core)
    more: Said = {
        "organization": organization(said.organization, full=True),
        "phones": _phone(one.phone, one.id),
        "schedules": _schedules(one.schedules, one.id),
        "languages": _languages(one.languages, one.id),
        "service_areas": [
            _area(code, one.id) for code in one.area_codes or [one.department or one.country]
        ],
        "attributes": [_attribute(code, one.id, terms) for code in one.need_codes],
        "service_at_locations": [_at(at) for at in said.service_at_locations],
        "x_accessibility": [words(d.Accessibility.DESCRIPTOR)[each] for each in one.accessibility],
    }
    return _filled(core | more)


def service_at_location(
    said: o.PublicService, terms: Mapping[str, d.TaxonomyTerm], *, full: bool = False
) -> Said:
    """Returns a service at its only location."""
    at = said.service_at_locations[0]
    core = _at(at) if full else {"id": uuid(at.id), "location": _location(at.location)}
    return {**core, "service": service(said, terms)}


def minimal(said: o.PublicService) -> Said:
    """Returns id and date alone, for a reader who only wants to know what has changed."""
    return {
        "id": uuid(said.service.id),
        "modified_date": rfc3339(said.modify_time.ToDatetime(tzinfo=UTC)),
    }


def taxonomy() -> Said:
    """Returns the only taxonomy."""
    return {
        "id": TAXONOMY_ID,
        "name": "Enlace",
        "description": (
            "Kinds of help for survivors of human trafficking, in two levels;"
            " each with the HTCDS 2.0 type that it is."
        ),
    }


def term(said: d.TaxonomyTerm, *, full: bool = True) -> Said:
    """Returns a code of the taxonomy."""
    return _filled(
        {
            "id": term_id(said.code),
            "code": said.code,
            "name": said.names[_LANGUAGE] or said.code,
            "description": " / ".join(said.names[language] for language in sorted(said.names))
            or said.code,
            "parent_id": term_id(said.parent_code) if said.parent_code else "",
            "taxonomy": "Enlace",
            "taxonomy_id": TAXONOMY_ID,
            "language": _LANGUAGE,
            "taxonomy_detail": taxonomy() if full else {},
            "x_htcds_types": list(said.htcds_spl_types),
        }
    )


def _at(said: l.ServiceAtLocation) -> Said:
    return _filled(
        {
            "id": uuid(said.id),
            "phones": [
                _filled(
                    {
                        "id": made(said.id, "phones", each.number),
                        "number": each.number,
                        "extension": int(each.extension) if each.extension.isdecimal() else "",
                        "description": each.description,
                        "languages": _languages(each.languages, made(said.id, each.number)),
                    }
                )
                for each in said.phones
            ],
            "schedules": _schedules(said.schedules, said.id),
            "x_languages": list(said.languages),
            "location": _location(said.location),
        }
    )


def _location(said: l.Location) -> Said:
    point = (
        {"latitude": said.latitude, "longitude": said.longitude}
        if said.HasField("latitude")
        else {}
    )
    return _filled(
        {
            "id": uuid(said.id),
            "location_type": "physical",
            "name": said.name,
            "transportation": said.transportation,
            **point,
            "addresses": [_address(said)] if said.address else [],
            "accessibility": [
                {"id": made(said.id, "accessibility", word), "description": word}
                for word in (words(d.Accessibility.DESCRIPTOR)[each] for each in said.accessibility)
            ],
            "x_country": said.country,
            "x_department": said.department,
            "x_area_code": said.area_code,
        }
    )


def _address(said: l.Location) -> Said:
    """Returns the address of a location.

    HSDS requires a city and a postal code. The city is empty if no municipality is stated, and the
    postal code always: people describe the way instead.
    """
    return {
        "id": made(said.id, "addresses"),
        "address_1": said.address,
        "city": area_name(said.area_code),
        "state_province": area_name(said.department),
        "postal_code": "",
        "country": said.country,
        "address_type": "physical",
    }


def _phone(number: str, of: str) -> list[Said]:
    return [{"id": made(of, "phones", number), "number": number, "type": "voice"}] if number else []


def _schedules(said: Iterable[d.Schedule], of: str) -> list[Said]:
    return [
        _filled(
            {
                "id": made(of, "schedules", str(number)),
                "freq": words(d.Frequency.DESCRIPTOR)[each.freq].upper(),
                "byday": ",".join(each.byday) or _EVERY_DAY,
                "opens_at": each.opens_at,
                "closes_at": each.closes_at,
                "valid_from": each.valid_from,
                "valid_to": each.valid_to,
                "x_holidays": each.holidays,
            }
        )
        for number, each in enumerate(said)
    ]


def _languages(tags: Iterable[str], of: str) -> list[Said]:
    return [{"id": made(of, "languages", tag), "code": tag} for tag in tags]


def _area(code: str, of: str) -> Said:
    return {
        "id": made(of, "service_areas", code),
        "name": area_name(code) or code,
        "x_area_code": code,
    }


def _attribute(code: str, of: str, terms: Mapping[str, d.TaxonomyTerm]) -> Said:
    about = {"taxonomy_term": term(terms[code], full=False)} if code in terms else {}
    return {
        "id": made(of, "attributes", code),
        "link_id": uuid(of),
        "link_entity": "service",
        "link_type": "service",
        "taxonomy_term_id": term_id(code),
        **about,
    }


def _filled(said: Said, *always: str) -> Said:
    """Returns the object without its empty values, except for those named in `always`."""
    return {
        name: value
        for name, value in said.items()
        if name in always or not (value is None or value == "" or value in ([], {}))
    }


def area_name(code: str) -> str:
    """Returns the name of a subdivision or a municipality; "" for a country."""
    return DEPARTMENTS.get(code) or MUNICIPALITIES.get(code.partition(".")[0], {}).get(code, "")
