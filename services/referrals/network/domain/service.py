"""Services in the directory, as the referrals service knows them, and the ages they accept."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from chassis.errors import Conflict


@dataclass(frozen=True)
class Ages:
    """The ages in years that a service accepts; a limit that is not stated is None."""

    minimum: int | None = None
    maximum: int | None = None

    def takes(self, age_band: str) -> bool:
        """Returns whether any age of the band is accepted; True for an unknown age."""
        if not age_band:
            return True
        youngest, _, oldest = age_band.removesuffix("+").partition("-")  # 12-17, or 60+
        return (self.minimum is None or not oldest or int(oldest) >= self.minimum) and (
            self.maximum is None or int(youngest) <= self.maximum
        )


ANY_AGES = Ages()


@dataclass(frozen=True)
class Receiver:
    """A service with its organisation, as the receiver of a referral.

    `available`: the organisation is in good standing, and the service is visible to the sender.
    `offered`: the organisation still offers the service.
    `department` is where the service helps; "" if it helps in the whole country, or is not known
    yet. `sender_on_probation`: the sender is on probation.
    """

    available: bool
    offered: bool
    ages: Ages
    department: str
    sender_on_probation: bool


AGE_NOT_TAKEN = "age_not_taken"


def check_age_taken(is_taken: bool, acknowledged_codes: Collection[str]) -> None:
    """Refuses a person whose age is not accepted, unless the caller has acknowledged this."""
    if not is_taken and AGE_NOT_TAKEN not in acknowledged_codes:
        raise Conflict(AGE_NOT_TAKEN)


class Attribute(Enum):
    """An attribute of an enquiry's content that describes the person.

    If leaving out any of several attributes would bring the same benefit, the first in this order
    is proposed.
    """

    DEPARTMENT = "department"
    LANGUAGES = "languages"
    DEPENDANTS = "dependants"
    AGE_BAND = "age_band"
    GENDER = "gender"

    @property
    def field(self) -> str:
        """Returns the name of the attribute's field in the content."""
        return "gender_code" if self is Attribute.GENDER else self.value


@dataclass(frozen=True)
class Service:
    """A service as an enquiry sees it.

    `uses` are the attributes on which the service bases its decision; None if they are not known.
    """

    id: str
    organization_id: str
    uses: frozenset[Attribute] | None
