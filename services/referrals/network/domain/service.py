"""What this service has heard of a service of the directory: whom it takes."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from chassis.errors import Conflict


@dataclass(frozen=True)
class Ages:
    """Whom a service or a pathway takes by age, as far as it has stated a limit."""

    minimum: int | None = None
    maximum: int | None = None

    def takes(self, age_band: str) -> bool:
        """Returns whether any age of the band is taken; of an unknown age nothing says that it is
        not.
        """
        if not age_band:
            return True
        youngest, _, oldest = age_band.removesuffix("+").partition("-")  # 12-17, or 60+
        return (self.minimum is None or not oldest or int(oldest) >= self.minimum) and (
            self.maximum is None or int(youngest) <= self.maximum
        )


ANY_AGES = Ages()


AGE_NOT_TAKEN = "age_not_taken"


def check_age_taken(taken: bool, acknowledged: Collection[str]) -> None:
    """Refuses what is for other ages than hers, until somebody says by name that it is known."""
    if not taken and AGE_NOT_TAKEN not in acknowledged:
        raise Conflict(AGE_NOT_TAKEN)


class Attribute(Enum):
    """What of the content describes her; in the order in which it is proposed to be made coarser,
    where one does as well as the other.
    """

    DEPARTMENT = "department"
    LANGUAGES = "languages"
    DEPENDANTS = "dependants"
    AGE_BAND = "age_band"
    GENDER = "gender"

    @property
    def field(self) -> str:
        """How the content calls it."""
        return "gender_code" if self is Attribute.GENDER else self.value


@dataclass(frozen=True)
class Service:
    """A service as it may be asked: `uses` are the attributes it decides by; None: that was never
    heard.
    """

    id: str
    organization_id: str
    uses: frozenset[Attribute] | None
