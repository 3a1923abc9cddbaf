"""What is looked for in the directory: words and attributes, none of which has to be said."""

from dataclasses import dataclass

from services.partners.domain.codes import MAX_AGE, Check, Taxonomy
from services.partners.domain.service import MAX_DEPENDANTS

MAX_WORDS = 200  # characters


@dataclass(frozen=True)
class Wanted:
    """Empty and None are "any"."""

    words: str = ""
    need_code: str = ""
    country: str = ""
    department: str = ""
    language: str = ""
    age: int | None = None
    dependants: int | None = None
    has_room: bool = False
    organization_id: str = ""

    def check(self, taxonomy: Taxonomy) -> None:
        """Refuses what can't be looked for."""
        check = Check()
        check.text("words", self.words, limit=MAX_WORDS)
        if self.need_code and not taxonomy.knows(self.need_code):
            check.say("need_code", "unknown_code")
        check.country("country", self.country)
        check.department("department", self.department, self.country)
        check.language("language", self.language)
        check.within("age", self.age, 0, MAX_AGE)
        check.within("dependants", self.dependants, 0, MAX_DEPENDANTS)
        check.done()
