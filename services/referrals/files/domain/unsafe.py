"""With whom or where a person is not safe, as she said it: asked before each enquiry and each
referral, and obeyed by both.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from chassis.errors import Conflict, Invalid

NAMED = "named"
UNSAFE_FOR_HER = "unsafe_for_her"


@dataclass(frozen=True)
class Unsafe:
    """Her answer: whom and which departments she named, that she named nothing, or why she was not
    asked. Its sender's alone.
    """

    code: str = ""  # UnsafeAnswer as a word; empty: nobody has said anything
    organization_ids: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()

    def check(self, organizations: str = "unsafe_organization_ids") -> None:
        """Refuses no answer, NAMED without a name, and a name with another answer.

        `organizations` is how a request calls those whom she named.
        """
        names = bool(self.organization_ids or self.departments)
        if not self.code:
            raise Invalid(("unsafe_code", "required"))
        if names != (self.code == NAMED):
            raise Invalid(("unsafe_code", "out_of_range") if names else (organizations, "required"))

    def besides(self, others: Iterable["Unsafe"]) -> "Unsafe":
        """Returns this answer with all that the others name as well."""
        every = [self, *others]
        return Unsafe(
            self.code,
            tuple(dict.fromkeys(each for one in every for each in one.organization_ids)),
            tuple(dict.fromkeys(each for one in every for each in one.departments)),
        )

    def names(self, organization_id: str, department: str) -> bool:
        """Whether she named this organisation, or the department where it would help her."""
        return organization_id in self.organization_ids or (
            bool(department) and department in self.departments
        )

    def check_receiver(
        self, organization_id: str, department: str, acknowledged: Collection[str]
    ) -> None:
        """Refuses a receiver whom she named, until somebody says by name that she wants it all the
        same.
        """
        if self.names(organization_id, department) and UNSAFE_FOR_HER not in acknowledged:
            raise Conflict(UNSAFE_FOR_HER)


UNSAID = Unsafe()
"""Nobody has said anything."""
