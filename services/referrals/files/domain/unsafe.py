"""The organisations and places that a person has named as unsafe for her.

She is asked before each enquiry and each referral, and both respect her answer.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from chassis.errors import Conflict, Invalid

NAMED = "named"
UNSAFE_FOR_HER = "unsafe_for_her"


@dataclass(frozen=True)
class Unsafe:
    """A person's answer to the question about who or what place is unsafe for her.

    The answer names organisations and departments, says that there are none, or says why the person
    was not asked. Only the sender sees the answer.
    """

    code: str = ""  # UnsafeAnswer as a word; empty if there is no answer
    organization_ids: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()

    def check(self, organizations_field: str = "unsafe_organization_ids", path: str = "") -> None:
        """Refuses a missing answer, NAMED without a name, and a name with any other answer.

        `organizations_field` is the name of the request field that has the organisations; `path`
        precedes the names of the fields in a refusal.
        """
        has_names = bool(self.organization_ids or self.departments)
        if not self.code:
            raise Invalid((f"{path}unsafe_code", "required"))
        if has_names != (self.code == NAMED):
            raise Invalid(
                (f"{path}unsafe_code", "out_of_range")
                if has_names
                else (path + organizations_field, "required")
            )

    def extended_by(self, other_answers: Iterable["Unsafe"]) -> "Unsafe":
        """Returns this answer, with the organisations and departments of other answers added."""
        answers = [self, *other_answers]
        return Unsafe(
            self.code,
            tuple(
                dict.fromkeys(
                    organization_id
                    for answer in answers
                    for organization_id in answer.organization_ids
                )
            ),
            tuple(
                dict.fromkeys(department for answer in answers for department in answer.departments)
            ),
        )

    def names(self, organization_id: str, department: str) -> bool:
        """Returns whether the person named this organisation, or the department of its service."""
        return organization_id in self.organization_ids or (
            bool(department) and department in self.departments
        )

    def check_receiver(
        self, organization_id: str, department: str, acknowledged_codes: Collection[str]
    ) -> None:
        """Refuses a receiver that the person named.

        The receiver is allowed if UNSAFE_FOR_HER is acknowledged, since the person then wants to be
        referred there all the same.
        """
        if self.names(organization_id, department) and UNSAFE_FOR_HER not in acknowledged_codes:
            raise Conflict(UNSAFE_FOR_HER)


NOT_STATED = Unsafe()
"""The value while there is no answer."""
