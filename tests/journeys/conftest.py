"""The fixtures of all journeys: free beds in a shelter, and the check for unsealed words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from tests.faults import canary
from tests.journeys import typed
from tests.parts.local_stack import LocalStack

if TYPE_CHECKING:
    from tests.journeys.actors import Actors
    from tests.notifications.receiver import Receiver


@pytest.fixture(scope="package")
def sealed(stack: LocalStack) -> Iterator[None]:
    """Checks, after all journeys, that no typed word about a person is found unsealed.

    Topics, logs, databases, metrics, addresses and titles are searched.
    """
    yield
    assert (
        canary.hits(typed.MARKS, typed.recorded_pages()) + canary.left_in(stack, typed.MARKS) == []
    )


@pytest.fixture(autouse=True)
def free_beds(request: pytest.FixtureRequest) -> None:
    """Resets the free beds of Albergue Luna Nueva, because an accept takes one."""
    if "stack" not in request.fixturenames:
        return
    # the environments of the other Pythons have no browser, and their one test does not need it
    from playwright.sync_api import expect

    # the same timeout as an actor's (actors.py), because a second suite may be running
    expect.set_options(timeout=60_000)
    request.getfixturevalue("sealed")
    shelter = request.getfixturevalue("stack").worker("albergue@lunanueva")
    services = shelter.directory.SearchServices(
        d.SearchServicesRequest(organization_id=shelter.organization_id, page_size=50)
    ).services
    for service in services:
        if service.capacity.unit == d.CAPACITY_UNIT_BEDS and "HOU.EMG" in service.need_codes:
            capacity = d.Capacity(
                intake=d.INTAKE_OPEN, available=12, maximum=12, unit=d.CAPACITY_UNIT_BEDS
            )
            shelter.directory.SetCapacity(
                d.SetCapacityRequest(id=service.id, capacity=capacity, request_id=new_id())
            )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A partner's system that receives webhooks."""
    from tests.notifications.receiver import Receiver

    webhook_receiver = Receiver()
    yield webhook_receiver
    webhook_receiver.close()


@pytest.fixture
def actors(request: pytest.FixtureRequest, stack: LocalStack) -> Iterator[Actors]:
    """The actors of a test, whose browsers are closed after the test."""
    # not every environment has a browser
    from tests.journeys.actors import Actors

    all_actors = Actors(request.getfixturevalue("browser"), stack)
    yield all_actors
    all_actors.leave()
