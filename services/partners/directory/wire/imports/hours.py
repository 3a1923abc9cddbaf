"""Turns hours as people write them ("lun a vie 8:00-17:00; sáb 8am-12m") into schedules.

A text that can be read in two ways ("9-5", "M") is refused, so that nobody finds a closed door
because of a wrong guess.
"""

import re
import unicodedata
from functools import lru_cache

from protos.partners.v1 import directory_pb2 as pb


class UnclearHours(Exception):
    """A text can't be read as a schedule. The argument is the reason: ambiguous or malformed."""


DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_NAMES = {
    "MO": "lunes lun lu l monday mon lundi",
    "TU": "martes mar ma tuesday tues tue mardi",
    "WE": "miercoles mier mie mi x wednesday wed mercredi mer",
    "TH": "jueves jue ju j thursday thurs thur thu jeudi jeu",
    "FR": "viernes vie vi v friday fri f vendredi ven",
    "SA": "sabado sab sa saturday sat samedi sam",
    "SU": "domingo dom do d sunday sun dimanche dim",
}
_DAY = {word: day for day, words in _NAMES.items() for word in words.split()}
_ALWAYS = re.compile(
    r"^(las )?24 ?(h|hs|horas|hours|heures|/ ?7)( al dia)?(,? ?(7 dias|todos los dias|every"
    r" day|7/7))?$"
)
_EVERY_DAY = re.compile(r"\b(todos los dias|diario|diariamente|daily|every day|tous les jours)\b")
_TIME = r"(?<![\d:])(\d{1,2})(?:[:.h](\d{2}))?(\s?a\.?\s?m\.?|\s?p\.?\s?m\.?|\s?md|m|\s?hrs|\s?hs|\s?h)?"  # noqa: E501
_SPAN = re.compile(rf"{_TIME}\s?(?:-|a|to|au|hasta|until)\s?{_TIME}(?![\w:])")
_FILLER = re.compile(r"\b(de|del|desde|du|from|las?|horas|hrs)\b")
_PLAIN_MARKS = str.maketrans("–—’", "--'")
_NOON = 12


def schedules(text: str) -> list[pb.Schedule]:
    """Returns the schedules in a text. Raises UnclearHours."""
    folded = fold(text).strip(" .")
    if _ALWAYS.match(folded):
        return [
            pb.Schedule(
                freq=pb.FREQUENCY_WEEKLY, opens_at="00:00", closes_at="00:00", holidays=True
            )
        ]
    results = [
        schedule for part in re.split(r"[;\n|]", folded) if part.strip() for schedule in _part(part)
    ]
    if not results:
        raise UnclearHours("malformed")
    return results


def _part(text: str) -> list[pb.Schedule]:
    spans = list(_SPAN.finditer(text))
    if not spans:
        raise UnclearHours("malformed")
    # The words before, between and after the hours. Days stand before their hours, or all days
    # stand after all hours.
    ends = [0, *(span.end() for span in spans)]
    words_between = [
        _bare(text[end:start])
        for end, start in zip(ends, [*(span.start() for span in spans), len(text)], strict=True)
    ]
    if not words_between[0]:
        words_between = [*words_between[1:], ""]
        if any(words_between[:-2]):
            raise UnclearHours("ambiguous")
        words_between = [words_between[-2], *words_between[:-2], ""]
    if words_between[-1]:
        raise UnclearHours("ambiguous")
    part_schedules, days = [], list[str]()
    for words, span in zip(words_between, spans, strict=False):
        days = _days(words) if words or span is spans[0] else days
        opens, closes = _times(span)
        part_schedules.append(
            pb.Schedule(freq=pb.FREQUENCY_WEEKLY, byday=days, opens_at=opens, closes_at=closes)
        )
    return part_schedules


def _bare(text: str) -> str:
    """Returns the text without punctuation and without words that only join other words."""
    text = _FILLER.sub(" ", text).strip(" ,:.&()")
    return re.sub(r"^(y|and|et|e)\b|\b(y|and|et|e)$", "", text).strip(" ,:.&()")


def _days(text: str) -> list[str]:
    if _EVERY_DAY.search(text):
        if _EVERY_DAY.sub("", text).strip(" ,:."):
            raise UnclearHours("malformed")
        return []
    if not text:
        # hours without days could mean every day or every working day
        raise UnclearHours("ambiguous")
    days: list[str] = []
    for listed_days in re.split(r",|\by\b|\band\b|\bet\b|&|/", text):
        ends = [word.strip(" .:") for word in re.split(r"-|\ba\b|\bto\b|\bau\b", listed_days)]
        if not any(ends):
            continue
        if len(ends) > 2 or not all(ends):
            raise UnclearHours("malformed")
        if ends == ["m", "f"]:
            ends = ["mon", "fri"]  # F begins the name of a day only in English
        elif ends == ["l", "s"]:
            ends = ["lun", "sab"]  # L is Monday in Spanish and French, and then S is Saturday
        if any(end in ("m", "t", "s") for end in ends):
            raise UnclearHours("ambiguous")
        if not all(end in _DAY for end in ends):
            raise UnclearHours("malformed")
        first, last = DAYS.index(_DAY[ends[0]]), DAYS.index(_DAY[ends[-1]])
        days += DAYS[first : last + 1] if first <= last else (*DAYS[first:], *DAYS[: last + 1])
    if not days:
        raise UnclearHours("malformed")
    return list(dict.fromkeys(days))


def _times(span: "re.Match[str]") -> tuple[str, str]:
    opens, closes = _time(*span.groups()[:3]), _time(*span.groups()[3:])
    if opens[2] != closes[2]:
        # "8-5pm" may begin in the morning or in the evening; "8am-17" is unambiguous.
        (hour, _, _), other_time = (opens, closes) if not opens[2] else (closes, opens)
        if hour <= _NOON and not (hour == _NOON and other_time[2]):
            raise UnclearHours("ambiguous")
    elif opens[2] and (
        (closes[0] == 0 and 0 < opens[0] < _NOON) or (opens[0] == 0 and closes[0] >= _NOON)
    ):
        raise UnclearHours("ambiguous")  # 8am-12am: some people write 12am for noon
    elif not opens[2] and max(opens[0], closes[0]) <= _NOON:
        both_have_minutes = span.group(2) is not None and span.group(5) is not None
        if not both_have_minutes or closes[:2] <= opens[:2] or opens[0] < 6:
            raise UnclearHours("ambiguous")  # 9-5, 1:00-5:00
    return f"{opens[0]:02}:{opens[1]:02}", f"{closes[0] % 24:02}:{closes[1]:02}"


def _time(hour: str, minute: str | None, suffix: str | None) -> tuple[int, int, bool]:
    """Returns the hour, the minute, and whether the text states morning, noon or afternoon."""
    hour_number, minute_number = int(hour), int(minute or 0)
    mark = (suffix or "").replace(".", "").replace(" ", "")
    if mark in ("h", "hs", "hrs"):
        mark = ""
    if (
        (mark and not 1 <= hour_number <= _NOON)
        or hour_number > 24
        or (hour_number == 24 and minute_number)
        or minute_number > 59
    ):
        raise UnclearHours("malformed")
    if mark in ("m", "md"):
        if hour_number != _NOON:
            raise UnclearHours("ambiguous")
        return hour_number, minute_number, True
    if mark == "pm" and hour_number < _NOON:
        hour_number += _NOON
    elif mark == "am" and hour_number == _NOON:
        hour_number = 0
    return hour_number, minute_number, bool(mark)


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Returns the text in lower case without accents, with plain marks and single spaces."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c)
    )
    return re.sub(r"[ \t]+", " ", plain.translate(_PLAIN_MARKS)).strip()
