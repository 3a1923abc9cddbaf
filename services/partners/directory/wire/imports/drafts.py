"""Turns the cells of a row into entries.

The entries pass the contract's own checks of services and places, so that a file can't store
anything that a call could not store.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chassis.errors import Invalid
from chassis.shape import violations
from chassis.wire import numbers
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import locations_pb2
from services.partners.directory.domain.area import Areas
from services.partners.directory.domain.imports import Line
from services.partners.directory.domain.location import LocationEntry, ServiceAtLocation
from services.partners.directory.domain.service import ServiceEntry
from services.partners.directory.domain.taxonomy import Taxonomy
from services.partners.directory.wire import locations as places
from services.partners.directory.wire import messages
from services.partners.directory.wire.imports import hours
from services.partners.directory.wire.imports.hours import fold
from services.partners.network.wire.phones import phone

# Signs of a wrong encoding: two bytes of UTF-8 read as Windows-1252 ("Ã³" for "ó"), a null
# character, or the replacement character for a lost letter.
_WRONG_ENCODING = re.compile("\0|[ÃÂ][\u0080-\u00bf\u0152-\u0161\u2013-\u203a\u20ac\u2122]|\ufffd")
_YES, _NO = frozenset("si yes oui true 1 x s y".split()), frozenset("no non false 0 n".split())
_COUNTRIES = {
    "nicaragua": "NI",
    "honduras": "HN",
    "el salvador": "SV",
    "guatemala": "GT",
    "costa rica": "CR",
    "panama": "PA",
    "mexico": "MX",
    "belice": "BZ",
    "ecuador": "EC",
    "peru": "PE",
    "colombia": "CO",
    "republica dominicana": "DO",
    "haiti": "HT",
    "estados unidos": "US",
    "espana": "ES",
}
# "Criollo" alone is not a language: it is Haitian Creole, or the Creole of Nicaragua's coast.
_LANGUAGE_WORDS = {
    "es": "espanol|castellano|spanish|espagnol",
    "en": "ingles|english|anglais",
    "fr": "frances|french|francais",
    "miq": "miskito|misquito",
    "bzk": "kriol|criollo de la costa caribe",
    "qu": "quechua",
    "pt": "portugues|portuguese|portugais",
    "ht": "kreyol|criollo haitiano|haitian creole|creole haitien",
    "zh": "chino|chinese|chinois",
    "ar": "arabe|arabic",
}
_LANGUAGE_BY_WORD = {
    word: tag for tag, words in _LANGUAGE_WORDS.items() for word in words.split("|")
}
_GENDER_WORDS = {
    pb.GENDER_FEMININE: "mujer mujeres femenino feminine female women femmes f",
    pb.GENDER_MASCULINE: "hombre hombres masculino masculine male men hommes",
}
_GENDER_BY_WORD = {
    word: number for number, words in _GENDER_WORDS.items() for word in words.split()
}
_WHOLE_COUNTRY = frozenset(
    ("todo el pais", "nacional", "whole country", "nationwide", "national", "tout le pays")
)
FLAGS = ("takes_dependants", "takes_pregnant", "takes_with_addiction", "takes_without_papers")
_SEPARATOR = re.compile(r"[,;/|\n]")


class CellError(Exception):
    """The text of a cell is refused. The argument is the reason, such as unknown_code."""


@dataclass
class CellReader:
    """Reads the texts of a row's cells. `country` applies to rows that state no country."""

    taxonomy: Taxonomy
    areas: Areas
    country: str = ""
    _memo: dict[str, Any] = field(default_factory=dict)
    _phone_number: str = ""

    @cached_property
    def _needs(self) -> Mapping[str, str]:
        names = {
            fold(name): term.code
            for term in self.taxonomy.terms.values()
            for name in term.names.values()
        }
        return names | {fold(code): code for code in self.taxonomy.terms}

    @cached_property
    def _area_codes(self) -> Mapping[str, list[str]]:
        codes: dict[str, list[str]] = {}
        for area in self.areas.areas.values():
            codes.setdefault(fold(area.name), []).append(area.code)
        return codes

    def service(
        self,
        line: Line,
        texts: Mapping[str, str],
        add_fields: Callable[[pb.Service], None] | None = None,
    ) -> tuple[ServiceEntry, frozenset[str]] | None:
        """Returns the service that a row describes, and the names of the fields that it states.

        Returns None if the line has problems, which are recorded in the line. `texts`: the row's
        cells, by field. `add_fields` adds fields that do not come from texts.
        """
        message, stated_fields = pb.Service(), set[str]()
        self._phone_number = ""
        country = self._country(line, texts)
        for name, text in texts.items():
            if name in _SERVICE and text.strip():
                stated_fields |= set(self._read_cell(line, message, name, text, country))
        message.country = country if texts.get("country", "").strip() else ""
        if add_fields:
            fields_before = {field.name for field, _ in message.ListFields()}
            add_fields(message)
            stated_fields |= (
                {field.name for field, _ in message.ListFields()} - fields_before - {"eligibility"}
            )
            stated_fields |= {
                f"eligibility.{field.name}" for field, _ in message.eligibility.ListFields()
            }
        for path, reason in violations(pb.CreateServiceRequest(service=message)):
            line.refuse(path.removeprefix("service."), reason)
        if line.problems:
            return None
        try:
            entry = messages.service_entry(
                message, active=message.active if "active" in stated_fields else True
            )
            return replace(entry, phone=self._phone_number), frozenset(stated_fields)
        except Invalid as error:
            for path, reason in error.violations:
                line.refuse(path.removeprefix("service."), reason)
            return None

    def place(
        self, line: Line, texts: Mapping[str, str], *, hidden: bool
    ) -> tuple[LocationEntry, frozenset[str]] | None:
        """Returns the place that a row describes, and the names of the fields that it states.

        Returns None if the line has problems, which are recorded in the line. `texts`: the row's
        cells, by field. `hidden`: the place is confidential, whatever the file states, because the
        location of its service must stay hidden.
        """
        message, stated_fields = locations_pb2.Location(), set[str]()
        country = self._country(line, texts)
        for name, text in texts.items():
            if name in _PLACE and text.strip():
                try:
                    self._check_encoding(text)
                    if name in ("latitude", "longitude"):
                        setattr(message, name, _parse_number(text, float))
                        if not abs(getattr(message, name)) <= (90 if name == "latitude" else 180):
                            raise CellError("out_of_range")
                    elif name == "department" and fold(text) in _WHOLE_COUNTRY:
                        # "whole country" describes the service's area, not where its place is
                        continue
                    elif name in ("department", "area_code"):
                        setattr(message, name, self.area(text, country, town=name == "area_code"))
                    elif name == "country":
                        message.country = country
                    elif name == "confidential":
                        message.confidential = _flag(text)
                    else:
                        setattr(message, name, " ".join(text.split()))
                    stated_fields.add(name)
                except CellError as error:
                    line.refuse(name, str(error))
        if message.area_code and not message.department:
            message.department = message.area_code.partition(".")[0]
            stated_fields.add("department")
        if message.address and not message.department:
            line.refuse("department", "required")
        if hidden or message.confidential:
            message.confidential = True
            stated_fields.add("confidential")
        for path, reason in violations(locations_pb2.CreateLocationRequest(location=message)):
            line.refuse(path.removeprefix("location."), reason)
        return None if line.problems else (places.location_entry(message), frozenset(stated_fields))

    def offer(
        self,
        line: Line,
        phones: Sequence[pb.Phone],
        schedules: Sequence[pb.Schedule],
        languages: str,
    ) -> ServiceAtLocation | None:
        """Returns the data of a service at a place, with placeholders for the ids.

        Returns None if the line has problems, which are recorded in the line.
        """
        message = locations_pb2.ServiceAtLocation(
            service_id="-", location_id="-", schedules=schedules
        )
        try:
            message.languages.extend(_language_tags(languages))
            for stated in phones:
                if _WRONG_ENCODING.search(stated.extension + stated.description):
                    raise Invalid(("phones", "malformed"))
                message.phones.add(
                    number=phone("phones", stated.number, self.country),
                    extension=stated.extension,
                    description=stated.description,
                    languages=_language_tags(",".join(stated.languages)),
                )
            found_violations = violations(
                locations_pb2.SetServiceAtLocationRequest(service_at_location=message)
            )
            if not found_violations:
                return places.service_at_location(message, "")
        except CellError as error:
            found_violations = [("languages", str(error))]
        except Invalid as error:
            found_violations = error.violations
        for path, reason in found_violations:
            line.refuse(path.removeprefix("service_at_location."), reason)
        return None

    def area(self, text: str, country: str, *, town: bool = False) -> str:
        """Returns the code of a department or, with `town`, of a municipality. Raises CellError.

        A text in the form of a code is returned unchanged, even if no area has this code.
        """
        text = text.strip()
        if re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3}(\.[a-z0-9-]+)?)?", text):
            return text
        name = re.sub(r"^(departamento|depto\.?|provincia|municipio) (de |del )?", "", fold(text))
        codes = [code for code in self._area_codes.get(name, []) if ("." in code) == town]
        codes = [code for code in codes if code.startswith(country)] if country else codes
        if not codes:
            raise CellError("unknown_code")
        if len(codes) > 1:
            raise CellError("ambiguous")
        return codes[0]

    def department_of(self, text: str, line: Line, texts: Mapping[str, str]) -> str:
        """Returns the code of a municipality's department.

        Refuses the line and returns "" if the text is the name of no municipality, or of several.
        A text in the form of a code is not checked.
        """
        try:
            return self.area(text, self._country(line, texts), town=True).partition(".")[0]
        except CellError as error:
            line.refuse("area_code", str(error))
            return ""

    def needs(self, text: str) -> list[str]:
        """Returns the codes of the needs that a text lists by code or by name. Raises CellError."""
        need = self._needs.get(fold(text))
        if need:  # the whole text is a single need; a need's name may contain a comma
            return [need]
        codes = [self._needs.get(fold(part)) for part in _SEPARATOR.split(text) if part.strip()]
        if None in codes:
            raise CellError("unknown_code")
        return list(dict.fromkeys(code for code in codes if code))

    def _country(self, line: Line, texts: Mapping[str, str]) -> str:
        text = texts.get("country", "").strip()
        code = text.upper() if len(text) == 2 else _COUNTRIES.get(fold(text), "")
        if text and not code:
            line.refuse("country", "unknown_code")
        return code or self.country

    def _read_cell(
        self, line: Line, message: pb.Service, name: str, text: str, country: str
    ) -> list[str]:
        """Puts the content of a cell into the message; returns the fields that the cell states."""
        try:
            self._check_encoding(text)
            return _SERVICE[name](self, message, name, text, country)
        except CellError as error:
            line.refuse(name, str(error))
        except hours.UnclearHours as error:
            line.refuse(name, str(error))
        except Invalid as error:
            for _, reason in error.violations:
                line.refuse(name, reason)
        return []

    @staticmethod
    def _check_encoding(text: str) -> None:
        if _WRONG_ENCODING.search(text):
            raise CellError("malformed")

    # One method for each kind of cell. Each method puts the cell into the message (a phone number:
    # into the reader) and returns the names of the fields that the cell states.

    def _text(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        setattr(message, name, " ".join(text.split()) if name == "name" else text.strip())
        return [name]

    def _stated_country(
        self, _message: pb.Service, name: str, _text: str, _country: str
    ) -> list[str]:
        return [name]

    def _need_codes(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        message.need_codes.extend(self.needs(text))
        return [name]

    def _area(self, message: pb.Service, name: str, text: str, country: str) -> list[str]:
        message.department = "" if fold(text) in _WHOLE_COUNTRY else self.area(text, country)
        return [name]

    def _areas(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        message.area_codes.extend(part.strip() for part in _SEPARATOR.split(text) if part.strip())
        return [name]

    def _phone(self, message: pb.Service, name: str, text: str, country: str) -> list[str]:
        # put into the entry later, and not into the message, so that the number is parsed only once
        self._phone_number = phone(name, text, country)
        return [name]

    def _languages(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        message.languages.extend(_language_tags(text))
        return [name]

    def _schedules(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        schedules = self._memo.get(text)
        if schedules is None:
            schedules = self._memo[text] = hours.schedules(text)
        message.schedules.extend(schedules)
        return [name]

    def _age(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        setattr(
            message.eligibility,
            name,
            _parse_number(re.sub(r"\b(anos|years?|ans)\b", "", fold(text)), int),
        )
        return [f"eligibility.{name}"]

    def _ages(self, message: pb.Service, _name: str, text: str, _country: str) -> list[str]:
        words = re.sub(r"\b(de|anos|years?|old|ans)\b", " ", fold(text))
        words = " ".join(words.split())
        if match := re.fullmatch(r"(\d{1,3}) ?(?:-|a|to) ?(\d{1,3})", words):
            message.eligibility.minimum_age = int(match[1])
            message.eligibility.maximum_age = int(match[2])
            return ["eligibility.minimum_age", "eligibility.maximum_age"]
        if match := re.fullmatch(
            r"(?:desde|from) (\d{1,3})|(\d{1,3}) ?(?:\+|y mas|o mas|and over)", words
        ):
            message.eligibility.minimum_age = int(match[1] or match[2])
            return ["eligibility.minimum_age"]
        if match := re.fullmatch(r"(?:hasta|up to) (\d{1,3})", words):
            message.eligibility.maximum_age = int(match[1])
            return ["eligibility.maximum_age"]
        if re.match(r"(mayores|menores|over|under)", words):
            # it is not clear whether people of exactly that age are included
            raise CellError("ambiguous")
        raise CellError("malformed")

    def _genders(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        number_by_word = numbers(pb.Gender.DESCRIPTOR)
        genders = [
            _GENDER_BY_WORD.get(fold(part)) or number_by_word.get(fold(part))
            for part in _SEPARATOR.split(text)
            if part.strip()
        ]
        if None in genders:
            raise CellError("unknown_code")
        message.eligibility.genders.extend(
            pb.Gender.ValueType(gender) for gender in dict.fromkeys(genders) if gender
        )
        return [f"eligibility.{name}"]

    def _accessibility(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        number_by_word = numbers(pb.Accessibility.DESCRIPTOR)
        message.accessibility.extend(
            pb.Accessibility.ValueType(number_by_word.get(word, 0)) for word in text.split("|")
        )  # an unknown word becomes 0, which is refused as any unknown code is
        return [name]

    def _eligibility_flag(
        self, message: pb.Service, name: str, text: str, _country: str
    ) -> list[str]:
        setattr(message.eligibility, name, _flag(text))
        return [f"eligibility.{name}"]

    def _service_flag(self, message: pb.Service, name: str, text: str, _country: str) -> list[str]:
        setattr(message, name, _flag(text))
        return [name]


_SERVICE: dict[str, Callable[[CellReader, pb.Service, str, str, str], list[str]]] = {
    **dict.fromkeys(("name", "description"), CellReader._text),
    "country": CellReader._stated_country,
    "need_codes": CellReader._need_codes,
    "department": CellReader._area,
    "area_codes": CellReader._areas,
    "phone": CellReader._phone,
    "languages": CellReader._languages,
    "schedules": CellReader._schedules,
    "ages": CellReader._ages,
    "genders": CellReader._genders,
    "accessibility": CellReader._accessibility,
    **dict.fromkeys(
        ("minimum_age", "maximum_age", "maximum_dependants", "maximum_age_of_boys"), CellReader._age
    ),
    **dict.fromkeys(FLAGS, CellReader._eligibility_flag),
    **dict.fromkeys(("confidential", "public", "active"), CellReader._service_flag),
}
_PLACE = (
    "name",
    "country",
    "department",
    "area_code",
    "address",
    "latitude",
    "longitude",
    "transportation",
    "confidential",
)


def _language_tags(text: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[,;/|\n]| y | and | et ", text) if part.strip()]
    tags = list(dict.fromkeys(_LANGUAGE_BY_WORD.get(fold(part), part) for part in parts))
    if not all(re.fullmatch(r"([a-z]{2,3}|x)(-[A-Za-z0-9]{1,8})*", tag) for tag in tags):
        raise CellError("unknown_code")
    return tags


def _flag(text: str) -> bool:
    word = fold(text)
    if word not in _YES | _NO:
        raise CellError("malformed")
    return word in _YES


def _parse_number(text: str, kind: Callable[[str], Any]) -> Any:
    try:
        if not re.fullmatch(r"[-+]?[0-9.,]+(e[-+]?[0-9]+)?", text.strip(), re.IGNORECASE):
            raise CellError("malformed")  # float would read 1_8, and the digits of other scripts
        value = float(text.strip().replace(",", "."))
        if kind is int and (not value.is_integer() or abs(value) > 1000):
            raise CellError("out_of_range")
        return kind(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise CellError("malformed") from error
