"""Each fact of a service names the criteria by which the service limits whom it accepts.

A statement that excludes nobody is not a limit.
"""

from __future__ import annotations

import pytest

from services.partners.directory.domain.service import Eligibility, Gender, ServiceEntry


@pytest.mark.parametrize(
    ("stated", "limiting_criteria"),
    [
        ({}, ()),
        (
            {
                "eligibility": Eligibility(
                    minimum_age=0, maximum_age=99, genders=tuple(Gender), takes_dependants=True
                )
            },
            (),
        ),
        ({"eligibility": Eligibility(minimum_age=18)}, ("age",)),
        ({"eligibility": Eligibility(maximum_age=17)}, ("age",)),
        ({"eligibility": Eligibility(genders=(Gender.FEMININE,))}, ("gender",)),
        ({"eligibility": Eligibility(takes_dependants=False)}, ("dependants",)),
        ({"eligibility": Eligibility(maximum_dependants=3)}, ("dependants",)),
        ({"languages": ("es",), "department": "NI-CI"}, ("language", "area")),
    ],
)
def test_a_service_decides_by_the_limits_that_it_states(
    stated: dict[str, object], limiting_criteria: tuple[str, ...]
) -> None:
    assert ServiceEntry("Albergue", ("HOU.EMG",), **stated).limiting_criteria == limiting_criteria  # type: ignore[arg-type]
