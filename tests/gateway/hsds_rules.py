"""The rules of HSDS 3 for each kind of object, rewritten by us.

The schemas of HSDS are published under CC BY-SA and are not part of this repository. The rules are
written from schema/*.json of github.com/openreferral/specification, version 3.0 (and 3.2, where it
changed a kind): for each kind they give the required fields, the type and format of each field, and
the closed lists of words. The field `service` of service_at_location is only in the schemas of
HSDS's compiled objects. Fields that begin with x_ are ours. A field that the schemas do not know is
refused here, although the schemas would allow it.
"""

from typing import Any

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

TEXT, NUMBER, UUID, URI, DATE = (
    {"type": "string"},
    {"type": "number"},
    {"type": "string", "format": "uuid"},
    # Spelt out, because the checker silently accepts a format for which it has no library.
    {
        "type": "string",
        "pattern": (
            r"^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~!$&'()*+,;=:@/?#\[\]-]|%[0-9A-Fa-f]{2})*$"
        ),
    },
    {"type": "string", "format": "date"},
)
TIME = {"type": "string", "pattern": r"^\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?$"}
MOMENT = {"type": "string", "format": "date-time"}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


def ref(kind: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{kind}"}


def many(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": ref(kind)}


FIELDS: dict[str, dict[str, Any]] = {
    "organization": {
        "id!": UUID,
        "name!": TEXT,
        "description!": TEXT,
        "website": URI,
        "phones": many("phone"),
        "locations": many("location"),
    },
    "service": {
        "id!": UUID,
        "name!": TEXT,
        "status!": one_of("active", "inactive", "defunct", "temporarily closed"),
        "description": TEXT,
        "minimum_age": NUMBER,
        "maximum_age": NUMBER,
        "assured_date": DATE,
        "last_modified": MOMENT,
        "organization": ref("organization"),
        "phones": many("phone"),
        "schedules": many("schedule"),
        "languages": many("language"),
        "service_areas": many("service_area"),
        "attributes": many("attribute"),
        "service_at_locations": many("service_at_location"),
    },
    "service_at_location": {
        "id!": UUID,
        "description": TEXT,
        "service": ref("service"),
        "location": ref("location"),
        "phones": many("phone"),
        "schedules": many("schedule"),
    },
    "location": {
        "id!": UUID,
        "location_type!": one_of("physical", "postal", "virtual"),
        "name": TEXT,
        "transportation": TEXT,
        "latitude": NUMBER,
        "longitude": NUMBER,
        "addresses": many("address"),
        "accessibility": many("accessibility"),
    },
    "address": {
        "id!": UUID,
        "address_1!": TEXT,
        "city!": TEXT,
        "state_province!": TEXT,
        "postal_code!": TEXT,
        "country!": {"type": "string", "minLength": 2, "maxLength": 2},
        "address_type!": one_of("physical", "postal", "virtual"),
    },
    "phone": {
        "id!": UUID,
        "number!": TEXT,
        "extension": NUMBER,
        "type": TEXT,
        "description": TEXT,
        "languages": many("language"),
    },
    "schedule": {
        "id!": UUID,
        "freq": one_of("WEEKLY", "MONTHLY"),
        "byday": {"type": "string", "pattern": r"^((-1|[1-5])?(MO|TU|WE|TH|FR|SA|SU)(,|$))+$"},
        "opens_at": TIME,
        "closes_at": TIME,
        "valid_from": DATE,
        "valid_to": DATE,
    },
    "language": {"id!": UUID, "name": TEXT, "code": TEXT},
    "service_area": {"id!": UUID, "name": TEXT},
    "accessibility": {"id!": UUID, "description": TEXT},
    "attribute": {
        "id!": UUID,
        "link_id": UUID,
        "taxonomy_term_id": UUID,
        "link_type": TEXT,
        "link_entity": TEXT,
        "taxonomy_term": ref("taxonomy_term"),
    },
    "taxonomy_term": {
        "id!": UUID,
        "code": TEXT,
        "name!": TEXT,
        "description!": TEXT,
        "parent_id": UUID,
        "taxonomy": TEXT,
        "taxonomy_id": UUID,
        "taxonomy_detail": ref("taxonomy"),
        "language": TEXT,
    },
    "taxonomy": {"id!": UUID, "name!": TEXT, "description!": TEXT},
}
PAGE = {
    "type": "object",
    "required": [
        "total_items",
        "total_pages",
        "page_number",
        "size",
        "first_page",
        "last_page",
        "empty",
        "contents",
    ],
    "properties": {
        **{
            name: {"type": "integer"}
            for name in ("total_items", "total_pages", "page_number", "size")
        },
        **{name: {"type": "boolean"} for name in ("first_page", "last_page", "empty")},
    },
    "additionalProperties": {"type": "array"},
}
_DEFS = {
    kind: {
        "type": "object",
        "properties": {name.removesuffix("!"): rule for name, rule in fields.items()},
        "patternProperties": {"^x_": {}},
        "additionalProperties": False,
        "required": [name.removesuffix("!") for name in fields if name.endswith("!")],
    }
    for kind, fields in FIELDS.items()
}


def check(kind: str, value: Any) -> None:
    """Raises an error if an object has a fault."""
    Draft202012Validator({"$defs": _DEFS, **ref(kind)}, format_checker=FormatChecker()).validate(
        value
    )


def check_page(kind: str, page: Any) -> list[Any]:
    """Raises an error if a page has a fault; returns the objects on the page."""
    Draft202012Validator(PAGE).validate(page)
    contents: list[Any] = page["contents"]
    for item in contents:
        check(kind, item)
    return contents
