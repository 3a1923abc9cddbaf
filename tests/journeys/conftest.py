"""What every journey finds, a shelter that has room, and what none may leave behind."""

from collections.abc import Iterator

import pytest

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from tests.faults import canary
from tests.journeys import typed
from tests.parts.local_stack import LocalStack


@pytest.fixture(scope="package")
def sealed(stack: LocalStack) -> Iterator[None]:
    """When all journeys are walked, nothing that was typed of a person is in a topic, a log, a
    database or a metric, nor in an address or a title.
    """
    yield
    assert canary.hits(typed.MARKS, typed.pages()) + canary.left_in(stack, typed.MARKS) == []


@pytest.fixture(autouse=True)
def room(request: pytest.FixtureRequest) -> None:
    """Albergue Luna Nueva says anew how many beds are free: an accept takes one."""
    if "stack" not in request.fixturenames:
        return
    # the other Pythons, whose one life needs no browser, have none
    from playwright.sync_api import expect

    # as an actor waits for a button: a second suite may run beside it
    expect.set_options(timeout=60_000)
    request.getfixturevalue("sealed")
    shelter = request.getfixturevalue("stack").worker("albergue@lunanueva")
    services = shelter.directory.SearchServices(
        d.SearchServicesRequest(organization_id=shelter.organization_id, page_size=50)
    ).services
    for service in services:
        if service.capacity.unit == d.CAPACITY_UNIT_BEDS and "HOU.EMG" in service.need_codes:
            free = d.Capacity(
                intake=d.INTAKE_OPEN, available=12, maximum=12, unit=d.CAPACITY_UNIT_BEDS
            )
            shelter.directory.SetCapacity(
                d.SetCapacityRequest(id=service.id, capacity=free, request_id=new_id())
            )
