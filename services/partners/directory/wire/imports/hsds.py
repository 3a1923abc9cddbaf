"""HSDS 3: services as JSON, and as the tables of the data package.

The JSON value is an object, a list of objects, or a page of objects in `contents`. The objects are
services, or organisations with their services. The tables of a data package are joined into the
same objects.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chassis.errors import Invalid
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.imports import (
    MAX_ROWS,
    Line,
    ParsedFile,
    PlaceDraft,
    ServiceAtPlace,
    ServiceDraft,
)
from services.partners.directory.domain.taxonomy import Taxonomy
from services.partners.directory.wire.hsds_ids import plain_id, term_id
from services.partners.directory.wire.imports.drafts import FLAGS, CellReader
from services.partners.directory.wire.imports.files import Table, column_letters
from services.partners.directory.wire.imports.hours import DAYS

_ACTIVE = {"active": True, "inactive": False, "defunct": False, "temporarily closed": False}
_EXTRAS = (
    "country",
    "need_codes",
    "confidential",
    "public",
    *FLAGS,
    "maximum_dependants",
    "maximum_age_of_boys",
    "genders",
    "accessibility",
)
# A time with an offset from UTC is still local time at the place. A time in UTC is refused.
_LOCAL_TIME = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)(?::[0-5]\d(?:\.\d+)?)?(?:[+-]\d\d:?\d\d)?")
# Each row of these tables goes into a list in a row of another table.
_CHILDREN = ("phones", "schedules", "languages", "attributes", "service_areas", "addresses")
_OWNERS = (
    ("service_at_location_id", "service_at_locations"),
    ("service_id", "services"),
    ("location_id", "locations"),
)


class Node(dict[str, Any]):
    """An object of HSDS, and the line of the file (a row of a table) that contains the object."""

    def __init__(self, values: Mapping[str, Any], line: Line) -> None:
        super().__init__(values)
        self.line = line


def parse(document: Any, reader: CellReader) -> ParsedFile:
    """Returns the drafts of a JSON value."""
    objects = document.get("contents", document) if isinstance(document, dict) else document
    objects = [objects] if isinstance(objects, dict) else objects
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise Invalid(("content", "malformed"))
    services = [
        item
        for parent in objects
        for item in (
            [{**s, "organization": parent} for s in _list(parent, "services")]
            if "services" in parent
            else [parent]
        )
    ]
    if len(services) > MAX_ROWS:
        raise Invalid(("content", "too_long"))
    parsed_file = ParsedFile()
    places: dict[str, PlaceDraft] = {}
    for number, service in enumerate(services, 1):
        line = Line("", number)
        parsed_file.lines.append(line)
        _add_service(parsed_file, places, Node(service, line), reader)
    return parsed_file


def parse_tables(tables: Mapping[str, Table], reader: CellReader) -> ParsedFile:
    """Returns the drafts of a data package's tables.

    A row that belongs to no service or place of the package is ignored; a row of
    service_at_locations is refused instead.
    """
    nodes_by_table = {
        name.removesuffix(".csv"): _nodes(name, table) for name, table in tables.items()
    }
    if sum(map(len, nodes_by_table.values())) > 4 * MAX_ROWS:
        raise Invalid(("content", "too_long"))
    by_id = {
        name: {node.get("id", ""): node for node in reversed(nodes)}
        for name, nodes in nodes_by_table.items()
    }
    for node in nodes_by_table.get("locations", []):
        if node.get("id") and by_id["locations"][node["id"]] is not node:
            node.line.refuse("id", "duplicate")
    terms = by_id.get("taxonomy_terms", {})
    for attribute in nodes_by_table.get("attributes", []):
        attribute["taxonomy_term"] = terms.get(
            attribute.get("taxonomy_term_id", ""), {"id": attribute.get("taxonomy_term_id", "")}
        )
        attribute["service_id"] = attribute.get("service_id") or attribute.get("link_id", "")
    for name in _CHILDREN:
        for node in nodes_by_table.get(name, []):
            owner = next(
                (by_id.get(table, {}).get(node[key]) for key, table in _OWNERS if node.get(key)),
                None,
            )
            if owner is not None:
                owner.setdefault(name, []).append(node)
    for node in nodes_by_table.get("service_at_locations", []):
        owner = by_id["services"].get(node.get("service_id", ""))
        node["location"] = by_id.get("locations", {}).get(node.get("location_id", ""))
        if owner is None:
            node.line.refuse("service_id", "unknown_code")
        elif node["location"] is None:
            node.line.refuse("location_id", "unknown_code")
        else:
            owner.setdefault("service_at_locations", []).append(node)
    parsed_file, places = ParsedFile(), dict[str, PlaceDraft]()
    for service in nodes_by_table["services"]:
        service["organization"] = by_id.get("organizations", {}).get(
            service.get("organization_id", ""), {"id": service.get("organization_id")}
        )
        parsed_file.lines.append(service.line)
        _add_service(parsed_file, places, service, reader)
    # Places are reported with their own rows; rows of other tables only if they are wrong.
    parsed_file.lines += [
        draft.line for draft in places.values() if draft.line.file == "locations.csv"
    ]
    reported_ids = {id(line) for line in parsed_file.lines}
    parsed_file.lines += [
        node.line
        for nodes in nodes_by_table.values()
        for node in nodes
        if node.line.problems and id(node.line) not in reported_ids
    ]
    return parsed_file


def _nodes(name: str, table: Table) -> list[Node]:
    headings = [heading.strip().lower() for heading in table.rows[0][1]]
    columns = {
        heading: column_letters(index) for index, heading in reversed(list(enumerate(headings)))
    }
    return [
        Node(
            {
                heading: cell.strip()
                for heading, cell in zip(headings, cells, strict=False)
                if cell.strip()
            },
            Line(name, row, columns),
        )
        for row, cells in table.rows[1:]
    ]


def _add_service(
    parsed_file: ParsedFile, places: dict[str, PlaceDraft], node: Node, reader: CellReader
) -> None:
    line = node.line
    organization = _dict(node, "organization")
    extras = {name: _text(node.get(f"x_{name}")) for name in _EXTRAS}
    texts = {
        name: _text(node.get(name))
        for name in ("name", "description", "minimum_age", "maximum_age")
    } | extras
    texts["department"] = _text(node.get("x_department")) or _department(node)
    texts["phone"] = next((_text(item.get("number")) for item in _list(node, "phones")), "")
    texts["area_codes"] = ",".join(
        filter(None, (_text(item.get("x_area_code")) for item in _list(node, "service_areas")))
    )
    texts["country"] = texts["country"] or _country(node)
    if node.get("status"):
        texts["active"] = {True: "yes", False: "no"}.get(
            _ACTIVE.get(_text(node["status"]).lower()),  # type: ignore[arg-type]
            _text(node["status"]),
        )
    texts["languages"] = ",".join(_languages(node))
    texts["need_codes"] = texts["need_codes"] or _needs(node, reader.taxonomy)

    def add_fields(message: pb.Service) -> None:
        message.schedules.extend(_schedules(line, node))

    entry_and_fields = reader.service(
        line, {name: text for name, text in texts.items() if text}, add_fields
    )
    if entry_and_fields is None:
        return
    entry, stated_fields = entry_and_fields
    # Our open data has an area for every service: its department or country if none was entered.
    if entry.area_codes == (entry.department or entry.country,):
        entry = replace(entry, area_codes=())
    draft = ServiceDraft(
        line,
        plain_id(_text(node.get("id"))),
        plain_id(_text(organization.get("id"))),
        _text(organization.get("name")),
        entry,
        stated_fields,
        has_area=bool(texts["department"] or _departments(node)),
    )
    for offer_node in _list(node, "service_at_locations"):
        offer_draft = _service_at_place(offer_node, places, line, reader, hidden=entry.is_shelter)
        if offer_draft is not None:
            draft.places.append(offer_draft)
    parsed_file.services.append(draft)


def _service_at_place(
    offer_node: Mapping[str, Any],
    places: dict[str, PlaceDraft],
    line: Line,
    reader: CellReader,
    *,
    hidden: bool,
) -> ServiceAtPlace | None:
    location = _dict(offer_node, "location")
    if not location:
        return None
    source_id = plain_id(_text(location.get("id")))
    place_line = location.line if isinstance(location, Node) else line
    own_line = offer_node.line if isinstance(offer_node, Node) else line
    texts = _place_texts(location)
    if texts["address"] and not (texts["department"] or texts["area_code"]):
        address = _list(location, "addresses")[0]
        if isinstance(address, Node):  # so that the problem names the row of the address
            address.line.refuse("state_province", "required")
    entry_and_fields = reader.place(place_line, texts, hidden=hidden)
    if entry_and_fields is None:
        line.refuse("service_at_locations", "malformed")
        return None
    entry, stated_fields = entry_and_fields
    if source_id not in places or not source_id:
        places[source_id] = PlaceDraft(place_line, source_id, entry, stated_fields)
    elif any(
        getattr(entry, name) != getattr(places[source_id].entry, name)
        for name in stated_fields - {"confidential"}
    ):  # an earlier service of the file describes the same place in another way
        line.refuse("service_at_locations", "contradicts")
        return None
    if entry.confidential:  # an earlier service at the same place need not be hidden
        places[source_id].hide()
    offer = reader.offer(
        own_line,
        [
            pb.Phone(
                number=number,
                extension=_text(item.get("x_extension"))
                or _text(item.get("extension")).removesuffix(".0"),
                description=_text(item.get("description")),
                languages=_languages(item),
            )
            for item in _list(offer_node, "phones")
            if (number := _text(item.get("number")))
        ],
        _schedules(own_line, offer_node),
        ",".join(_languages(offer_node)) or _text(offer_node.get("x_languages")),
    )
    if offer is None:
        return None
    return ServiceAtPlace(
        places[source_id], offer.phones or None, offer.schedules or None, offer.languages or None
    )


def _place_texts(location: Mapping[str, Any]) -> dict[str, str]:
    address = next(iter(_list(location, "addresses")), {})
    lines = [_text(address.get(name)) for name in ("address_1", "address_2")]
    texts = {
        name: _text(location.get(name))
        for name in ("name", "latitude", "longitude", "transportation")
    }
    return {
        **texts,
        "address": ", ".join(filter(None, lines)),
        "country": _text(address.get("country")) or _text(location.get("x_country")),
        "department": _text(location.get("x_department")) or _text(address.get("state_province")),
        "area_code": _text(location.get("x_area_code")),
        "confidential": _text(location.get("x_confidential")),
    }


def _department(node: Mapping[str, Any]) -> str:
    """Returns the department of a service's places; "" if they name none, or several."""
    departments = _departments(node)
    return departments.pop() if len(departments) == 1 else ""


def _departments(node: Mapping[str, Any]) -> set[str]:
    return {
        _place_texts(_dict(offer_node, "location"))["department"]
        for offer_node in _list(node, "service_at_locations")
    } - {""}


def _country(node: Mapping[str, Any]) -> str:
    countries = {
        _place_texts(_dict(offer_node, "location"))["country"]
        for offer_node in _list(node, "service_at_locations")
    } - {""}
    return countries.pop() if len(countries) == 1 else ""


def _needs(node: Mapping[str, Any], taxonomy: Taxonomy) -> str:
    code_by_id = {term_id(code): code for code in taxonomy.terms}
    codes = []
    for attribute in _list(node, "attributes"):
        term = _dict(attribute, "taxonomy_term")
        code = (
            _text(term.get("code"))
            or code_by_id.get(plain_id(_text(term.get("id"))), "")
            or _text(term.get("name"))
            or _text(term.get("id"))
        )
        if code:
            codes.append(code)
    return "|".join(dict.fromkeys(codes))


def _languages(node: Mapping[str, Any]) -> list[str]:
    return list(
        dict.fromkeys(
            filter(
                None,
                (
                    _text(item.get("code")) or _text(item.get("name"))
                    for item in _list(node, "languages")
                ),
            )
        )
    )


def _schedules(line: Line, node: Mapping[str, Any]) -> list[pb.Schedule]:
    messages = []
    for item in _list(node, "schedules"):
        own_line = item.line if isinstance(item, Node) else line
        message = pb.Schedule(
            byday=_days(item),
            valid_from=_text(item.get("valid_from"))[:10],
            valid_to=(_text(item.get("valid_to")) or _text(item.get("until")))[:10],
            holidays=_text(item.get("x_holidays")).lower() == "true",
        )
        freq = _text(item.get("freq")).upper() or ("WEEKLY" if message.byday else "")
        if freq not in ("WEEKLY", "MONTHLY"):
            own_line.refuse(
                "freq" if own_line is not line else "schedules",
                "unknown_code" if freq else "required",
            )
            continue
        # A rule that is not supported would change the opening hours, so the schedule is refused
        # instead of being read without the rule.
        unsupported = [
            name for name in ("bymonthday", "byweekno", "byyearday", "count") if item.get(name)
        ]
        if unsupported or _text(item.get("interval")) not in ("", "1", "1.0"):
            own_line.refuse(
                (*unsupported, "interval")[0] if own_line is not line else "schedules",
                "out_of_range",
            )
            continue
        message.freq = pb.Frequency.Value(f"FREQUENCY_{freq}")
        for name in ("opens_at", "closes_at"):
            text = _text(item.get(name))
            if time := _LOCAL_TIME.fullmatch(text):
                setattr(message, name, time[1])
            else:
                own_line.refuse(
                    name if own_line is not line else "schedules",
                    "required" if not text else "ambiguous" if text[-1] in "Zz" else "malformed",
                )
        if message.opens_at and message.closes_at:
            messages.append(message)
    return messages


def _days(schedule: Mapping[str, Any]) -> list[str]:
    """Returns the days of a schedule; an empty list if the schedule names all seven days."""
    days = [day.strip().upper() for day in _text(schedule.get("byday")).split(",") if day.strip()]
    return [] if set(days) == set(DAYS) else days


def _list(node: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = node.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dict(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = node.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "|".join(str(item) for item in value)
    return "" if value is None or isinstance(value, dict) else str(value).strip()
