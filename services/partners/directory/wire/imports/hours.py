"""Turns hours as people write them ("lun a vie 8:00-17:00; sáb 8am-12m") into schedules.

A text that can be read in two ways ("9-5", "M") is refused, so that nobody finds a closed door
because of a wrong guess.
"""

import re
import unicodedata
from functools import lru_cache

from protos.partners.v1 import directory_pb2 as pb


class Unclear(Exception):
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
_NOON = 12


def schedules(text: str) -> list[pb.Schedule]:
    """Returns the schedules in a text. Raises Unclear."""
    folded = fold(text).strip(" .")
    if _ALWAYS.match(folded):
        return [
            pb.Schedule(
                freq=pb.FREQUENCY_WEEKLY, opens_at="00:00", closes_at="00:00", holidays=True
            )
        ]
    weekly = [
        schedule for part in re.split(r"[;\n|]", folded) if part.strip() for schedule in _part(part)
    ]
    if not weekly:
        raise Unclear("malformed")
    return weekly


def _part(text: str) -> list[pb.Schedule]:
    spans = list(_SPAN.finditer(text))
    if not spans:
        raise Unclear("malformed")
    # The words before, between and after the hours. Days stand before their hours, or all days
    # stand after all hours.
    ends = [0, *(span.end() for span in spans)]
    between = [
        _bare(text[end:start])
        for end, start in zip(ends, [*(span.start() for span in spans), len(text)], strict=True)
    ]
    if not between[0]:
        between = [*between[1:], ""]
        if any(between[:-2]):
            raise Unclear("ambiguous")
        between = [between[-2], *between[:-2], ""]
    if between[-1]:
        raise Unclear("ambiguous")
    weekly, days = [], list[str]()
    for words, span in zip(between, spans, strict=False):
        days = _days(words) if words or span is spans[0] else days
        opens, closes = _times(span)
        weekly.append(
            pb.Schedule(freq=pb.FREQUENCY_WEEKLY, byday=days, opens_at=opens, closes_at=closes)
        )
    return weekly


def _bare(text: str) -> str:
    """Returns the text without punctuation and words that only join other words."""
    text = _FILLER.sub(" ", text).strip(" ,:.&()")
    return re.sub(r"^(y|and|et|e)\b|\b(y|and|et|e)$", "", text).strip(" ,:.&()")


def _days(text: str) -> list[str]:
    if _EVERY_DAY.search(text):
        if _EVERY_DAY.sub("", text).strip(" ,:."):
            raise Unclear("malformed")
        return []
    if not text:
        raise Unclear("ambiguous")  # hours without days could mean every day or every working day
    days: list[str] = []
    for listed_days in re.split(r",|\by\b|\band\b|\bet\b|&|/", text):
        ends = [word.strip(" .:") for word in re.split(r"-|\ba\b|\bto\b|\bau\b", listed_days)]
        if not any(ends):
            continue
        if len(ends) > 2 or not all(ends):
            raise Unclear("malformed")
        if ends == ["m", "f"]:
            ends = ["mon", "fri"]  # only in English does a day's name begin with F
        elif ends == ["l", "s"]:
            ends = ["lun", "sab"]  # L is Monday in Spanish and French, and then S is Saturday
        if any(end in ("m", "t", "s") for end in ends):
            raise Unclear("ambiguous")
        if not all(end in _DAY for end in ends):
            raise Unclear("malformed")
        first, last = DAYS.index(_DAY[ends[0]]), DAYS.index(_DAY[ends[-1]])
        days += DAYS[first : last + 1] if first <= last else (*DAYS[first:], *DAYS[: last + 1])
    if not days:
        raise Unclear("malformed")
    return list(dict.fromkeys(days))


def _times(span: "re.Match[str]") -> tuple[str, str]:
    opens, closes = _time(*span.groups()[:3]), _time(*span.groups()[3:])
    if opens[2] != closes[2]:
        # "8-5pm" may begin in the morning or in the evening; "8am-17" is unambiguous.
        (hour, _, _), other = (opens, closes) if not opens[2] else (closes, opens)
        if hour <= _NOON and not (hour == _NOON and other[2]):
            raise Unclear("ambiguous")
    elif opens[2] and (
        (closes[0] == 0 and 0 < opens[0] < _NOON) or (opens[0] == 0 and closes[0] >= _NOON)
    ):
        raise Unclear("ambiguous")  # 8am-12am: some people write 12am for noon
    elif not opens[2] and max(opens[0], closes[0]) <= _NOON:
        exact = span.group(2) is not None and span.group(5) is not None
        if not exact or closes[:2] <= opens[:2] or opens[0] < 6:
            raise Unclear("ambiguous")  # 9-5, 1:00-5:00
    return f"{opens[0]:02}:{opens[1]:02}", f"{closes[0] % 24:02}:{closes[1]:02}"


def _time(hour: str, minute: str | None, half: str | None) -> tuple[int, int, bool]:
    """Returns the hour, the minute, and whether the text states morning, noon or afternoon."""
    h, m = int(hour), int(minute or 0)
    mark = (half or "").replace(".", "").replace(" ", "")
    if mark in ("h", "hs", "hrs"):
        mark = ""
    if (mark and not 1 <= h <= _NOON) or h > 24 or (h == 24 and m) or m > 59:
        raise Unclear("malformed")
    if mark in ("m", "md"):
        if h != _NOON:
            raise Unclear("ambiguous")
        return h, m, True
    if mark == "pm" and h < _NOON:
        h += _NOON
    elif mark == "am" and h == _NOON:
        h = 0
    return h, m, bool(mark)


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Returns the text in lower case without accents, with plain hyphens and single spaces."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c)
    )
    return re.sub(r"[ \t]+", " ", plain.replace("–", "-").replace("—", "-")).strip()
