"""Services: their entry, their room, and who may see and change them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.db import Transaction
from chassis.ids import new_id
from chassis.store_faults import FoundDead
from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2
from runtime.sweeper import Sweeper
from services.partners.directory.domain.service import Eligibility, Service
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import MIGRATIONS, NOON, RIGHT_MISSING, STALE_ETAG, Scene, Stubs
from tests.partners.test_invitations import answer

UNKNOWN: Any = 77  # a value of an enum that a newer caller may know


def entry(**more: object) -> pb.Service:
    return pb.Service(
        **({"name": "Albergue", "need_codes": ["HOU.EMG"], "department": "NI-CI"} | more)  # type: ignore[arg-type]
    )


def change_of(
    service: Service | pb.Service, *paths: str, **fields: object
) -> pb.UpdateServiceRequest:
    """Returns a request that changes the given fields, or the given paths, of a service."""
    etag = service.etag if isinstance(service, pb.Service) else etag_of(service)
    return pb.UpdateServiceRequest(
        service=pb.Service(id=service.id, etag=etag, **fields),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths or list(fields)),
    )


def test_a_manager_adds_a_service_to_her_own_organisation(scene: Scene) -> None:
    organization = scene.organization("Luna Nueva", type=OrganizationType.SHELTER)
    created = scene.by(organization, Role.MANAGER).CreateService(service=entry())
    assert (created.organization_id, created.organization_name, created.organization_type) == (
        organization.id,
        "Luna Nueva",
        pb.ORGANIZATION_TYPE_SHELTER,
    )
    assert (created.country, created.active, created.HasField("capacity")) == ("NI", True, False)
    assert created.assured_time == created.create_time
    assert scene.facts(created.id) == [(1, "enlace.service.registered.v1")]


def test_a_service_belongs_to_the_callers_organisation_unless_a_coordinator_states_another(
    scene: Scene,
) -> None:
    organization, other = scene.organization("Propia"), scene.organization("Ajena")
    others_entry, nobodys_entry = entry(organization_id=other.id), entry(organization_id="0" * 32)
    for caller, service in (
        (scene.by(organization, Role.MANAGER), others_entry),
        (scene.coordinator, nobodys_entry),
    ):
        assert refusal(partial(caller.CreateService, service=service)) == NOT_FOUND
    assert scene.coordinator.CreateService(service=others_entry).organization_name == "Ajena"
    created = scene.by_key(organization, "directory.write").CreateService(service=entry())
    assert created.organization_id == organization.id


def test_a_call_passes_over_connections_that_are_found_dead(
    scene: Scene, manager: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_transaction, dead = scene.database._open_transaction, iter([True, True])

    @contextmanager
    def find_dead(*args: Any, **options: Any) -> Iterator[Transaction]:
        with open_transaction(*args, **options) as tx:
            if next(dead, False):
                raise FoundDead
            yield tx

    monkeypatch.setattr(scene.database, "_open_transaction", find_dead)
    created = manager.CreateService(service=entry(), request_id=new_id())
    assert next(dead, None) is None
    assert scene.facts(created.id) == [(1, "enlace.service.registered.v1")]


def test_a_worker_or_a_reading_key_cannot_add_a_service(scene: Scene) -> None:
    for caller in (
        scene.by(scene.coalition, Role.WORKER),
        scene.by_key(scene.coalition, "directory.read"),
    ):
        assert refusal(partial(caller.CreateService, service=entry())) == RIGHT_MISSING


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"name": ""}, "service.name", "required"),
        ({"description": "x" * 2001}, "service.description", "too_long"),
        ({"need_codes": []}, "service.need_codes", "required"),
        ({"country": "ni"}, "service.country", "malformed"),
        ({"country": "CR"}, "service.department", "unknown_code"),
        ({"languages": ["e"]}, "service.languages.0", "malformed"),
        ({"phone": "133"}, "service.phone", "malformed"),
        (
            {"eligibility": pb.Eligibility(minimum_age=-1)},
            "service.eligibility.minimum_age",
            "out_of_range",
        ),
        (
            {"eligibility": pb.Eligibility(maximum_age=121)},
            "service.eligibility.maximum_age",
            "out_of_range",
        ),
        (
            {"eligibility": pb.Eligibility(genders=[pb.GENDER_UNSPECIFIED])},
            "service.eligibility.genders.0",
            "unknown_code",
        ),
        (
            {"eligibility": pb.Eligibility(genders=[UNKNOWN])},
            "service.eligibility.genders.0",
            "unknown_code",
        ),
        ({"capacity": pb.Capacity(available=1)}, "service.capacity.intake", "required"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_path_of_its_field(
    scene: Scene, fields: dict[str, object], path: str, reason: str
) -> None:
    assert (path, reason) in wrong_fields(
        lambda: scene.coordinator.CreateService(service=entry(**fields))
    )


def test_unstated_fields_stay_unstated(scene: Scene) -> None:
    eligibility = pb.Eligibility(minimum_age=0)
    created = scene.coordinator.CreateService(service=entry(eligibility=eligibility))
    read = scene.coordinator.GetService(id=created.id)
    assert [field.name for field, _ in read.eligibility.ListFields()] == ["minimum_age"]
    assert read == created


def test_a_confidential_service_never_has_a_phone(scene: Scene) -> None:
    service = entry(confidential=True, phone="+50520000101")
    created = scene.coordinator.CreateService(service=service)
    assert (created.confidential, created.phone) == (True, "")
    assert scene.coordinator.UpdateService(change_of(created, phone="+50520000101")).phone == ""
    # The former public data are deleted with the change, not only hidden.
    created = scene.coordinator.CreateService(service=entry(phone="+50520000101"))
    scene.coordinator.UpdateService(change_of(created, confidential=True))
    assert scene.rows("SELECT phone FROM services WHERE id = %s", created.id) == [{"phone": ""}]


def test_an_update_changes_only_the_fields_in_its_mask(scene: Scene, member: Organization) -> None:
    created = scene.service(member, "Albergue")
    request = change_of(created, name="Casa", eligibility=pb.Eligibility(minimum_age=18))
    changed = scene.by(member, Role.MANAGER).UpdateService(request)
    assert (changed.name, changed.eligibility, list(changed.need_codes)) == (
        "Casa",
        pb.Eligibility(minimum_age=18),
        ["HOU.EMG"],
    )
    assert changed.etag != etag_of(created)
    assert refusal(lambda: scene.coordinator.UpdateService(request)) == STALE_ETAG
    assert scene.facts(created.id) == [
        (1, "enlace.service.registered.v1"),
        (2, "enlace.service.changed.v1"),
    ]


def test_a_part_of_the_eligibility_is_changed_or_cleared_and_the_others_stay(scene: Scene) -> None:
    stated = pb.Eligibility(minimum_age=18, maximum_age=60, genders=[pb.GENDER_FEMININE])
    created = scene.coordinator.CreateService(service=entry(eligibility=stated))
    paths = ("eligibility.maximum_age", "eligibility.minimum_age")
    request = change_of(created, *paths, eligibility=pb.Eligibility(minimum_age=16))
    changed = scene.coordinator.UpdateService(request)
    assert changed.eligibility == pb.Eligibility(minimum_age=16, genders=[pb.GENDER_FEMININE])
    cleared = scene.coordinator.UpdateService(change_of(changed, "eligibility.genders"))
    assert cleared.eligibility == pb.Eligibility(minimum_age=16)


def test_a_change_needs_the_version_it_is_based_on(scene: Scene) -> None:
    request = change_of(scene.service(scene.coalition), name="Casa")
    request.service.etag = ""
    assert wrong_fields(lambda: scene.coordinator.UpdateService(request)) == [
        ("service.etag", "required")
    ]


@pytest.mark.parametrize(
    ("path", "violation"),
    [
        ("capacity", ("update_mask", "unknown_code")),
        ("organization_id", ("update_mask", "unknown_code")),
        ("id", ("update_mask", "unknown_code")),
        ("eligibility.shoe_size", ("update_mask", "unknown_code")),
        ("capacity.available", ("update_mask", "unknown_code")),
        ("country", ("service.country", "required")),
    ],
)
def test_fields_outside_the_entry_are_not_changed_and_the_country_is_not_emptied(
    scene: Scene, path: str, violation: tuple[str, str]
) -> None:
    request = change_of(scene.service(scene.coalition), path)
    assert wrong_fields(lambda: scene.coordinator.UpdateService(request)) == [violation]


def test_after_an_update_entries_without_a_country_get_the_country_of_their_organisation(
    scene: Scene,
) -> None:
    house = scene.service(scene.coalition, "Casa")
    with scene.owner.transaction(SYSTEM) as tx:  # as an earlier version stored it
        tx.execute("UPDATE services SET country = '', facets = '{}' WHERE id = %s", (house.id,))
        migration = next(MIGRATIONS[1].glob("*_countries.sql")).read_text()
        for command in migration.partition("-- migrate:down")[0].strip(" \n;").split(";\n"):
            tx.execute(command.encode())
    Sweeper(scene.database, scene.clock, sweep).sweep()
    response = scene.coordinator.SearchServices(country="NI")
    assert [service.id for service in response.services] == [house.id]


def test_a_service_that_a_caller_may_not_change_is_not_found(scene: Scene, stranger: Stubs) -> None:
    created = scene.service(scene.organization("Ajena"))
    change = change_of(created, name="Tomado")
    assert refusal(lambda: stranger.UpdateService(change)) == NOT_FOUND
    closed_room = pb.Capacity(intake=pb.INTAKE_CLOSED)
    for caller in (stranger, scene.coordinator):
        assert (
            refusal(partial(caller.SetCapacity, id=created.id, capacity=closed_room)) == NOT_FOUND
        )
    for id in ("0" * 32, "", "' OR 1"):
        assert refusal(partial(stranger.GetService, id=id)) == NOT_FOUND


@pytest.mark.parametrize(
    ("before", "exposed", "hidden"),
    [
        (entry(need_codes=["LEG"]), {"public": True}, {"public": False}),
        (entry(confidential=True), {"confidential": False}, {"confidential": True}),
        (
            entry(tiers=[pb.FieldTier(field="phone", tier=contract_pb2.TIER_COORDINATOR)]),
            {"tiers": [pb.FieldTier(field="phone", tier=contract_pb2.TIER_PARTNER)]},
            {"tiers": [pb.FieldTier(field="phone", tier=contract_pb2.TIER_COORDINATOR)]},
        ),
    ],
    ids=["public", "confidential", "tiers"],
)
def test_only_its_own_organisation_exposes_a_service_and_a_coordinator_may_hide_it(
    scene: Scene, before: pb.Service, exposed: dict[str, Any], hidden: dict[str, Any]
) -> None:
    organization = scene.organization("Luna Nueva")
    manager = scene.by(organization, Role.MANAGER)
    id = manager.CreateService(service=before).id
    as_shown = scene.coordinator.GetService(id=id)
    assert wrong_fields(
        lambda: scene.coordinator.UpdateService(change_of(as_shown, **exposed))
    ) == [(f"service.{field}", "member_only") for field in exposed]
    manager.UpdateService(change_of(manager.GetService(id=id), **exposed))
    as_shown = scene.coordinator.GetService(id=id)
    scene.coordinator.UpdateService(change_of(as_shown, **hidden))


def test_a_coordinator_does_not_add_a_public_service_to_another_organisation(scene: Scene) -> None:
    organization = scene.organization("Luna Nueva")
    public = entry(need_codes=["LEG"], public=True, organization_id=organization.id)
    assert wrong_fields(lambda: scene.coordinator.CreateService(service=public)) == [
        ("service.public", "member_only")
    ]


def test_a_confirmed_entry_is_fresh_as_of_the_servers_time(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    scene.advance(seconds=40)
    confirmed = scene.coordinator.UpdateService(change_of(created, "assured_time"))
    assert confirmed.assured_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(seconds=40)


def test_any_worker_states_the_room_and_the_server_sets_its_time(
    scene: Scene, member: Organization
) -> None:
    created = scene.service(member, "Consulta", "MED.PRI")
    scene.advance(seconds=30)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=0, maximum=4)
    room.update_time.FromDatetime(NOON - timedelta(days=9))
    stored = scene.by(member, Role.WORKER).SetCapacity(id=created.id, capacity=room).capacity
    assert (stored.available, stored.maximum, stored.unit) == (0, 4, pb.CAPACITY_UNIT_BEDS)
    assert stored.update_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(seconds=30)
    assert scene.facts(created.id)[-1] == (2, "enlace.service.capacity_changed.v1")
    fact = last_fact(scene, created.id)
    assert (fact.intake_code, list(fact.need_codes), fact.organization_id) == (
        "OPEN",
        ["MED.PRI"],
        member.id,
    )


def last_fact(scene: Scene, id: str) -> facts_pb2.ServiceFact:
    """Returns the last fact about a service."""
    *_, row = scene.rows("SELECT payload FROM outbox WHERE subject = %s ORDER BY version", id)
    return facts_pb2.ServiceFact.FromString(row["payload"])


def test_the_fact_of_a_service_contains_the_ages_that_it_states(scene: Scene) -> None:
    created = scene.service(scene.coalition, eligibility=Eligibility(minimum_age=18))
    fact = last_fact(scene, created.id)
    assert (fact.minimum_age, fact.HasField("maximum_age")) == (18, False)


@pytest.mark.parametrize(
    ("room", "path", "reason"),
    [
        (pb.Capacity(), "capacity.intake", "required"),
        (pb.Capacity(intake=UNKNOWN), "capacity.intake", "unknown_code"),
        (pb.Capacity(intake=pb.INTAKE_OPEN, available=-1), "capacity.available", "out_of_range"),
        (
            pb.Capacity(intake=pb.INTAKE_OPEN, available=5, maximum=4),
            "capacity.available",
            "out_of_range",
        ),
        (
            pb.Capacity(intake=pb.INTAKE_OPEN, unit=pb.CapacityUnit.ValueType(99)),
            "capacity.unit",
            "unknown_code",
        ),
    ],
)
def test_an_invalid_figure_is_refused_with_its_field(
    scene: Scene, room: pb.Capacity, path: str, reason: str
) -> None:
    created = scene.service(scene.coalition)
    assert wrong_fields(lambda: scene.coordinator.SetCapacity(id=created.id, capacity=room)) == [
        (path, reason)
    ]


def test_an_etag_is_checked_for_capacity_only_if_one_is_sent(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=1)
    scene.coordinator.SetCapacity(id=created.id, capacity=room)
    assert (
        refusal(
            lambda: scene.coordinator.SetCapacity(
                id=created.id, etag=etag_of(created), capacity=room
            )
        )
        == STALE_ETAG
    )


def test_a_figure_sent_twice_counts_once_and_many_figures_at_once_leave_no_gap_in_the_versions(
    scene: Scene,
) -> None:
    created = scene.service(scene.coalition)
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=1)
    tap = pb.SetCapacityRequest(id=created.id, capacity=room, request_id="tap")
    assert scene.coordinator.SetCapacity(tap) == scene.coordinator.SetCapacity(tap)
    tap.request_id = ""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(scene.coordinator.SetCapacity, [tap] * 8))
    assert [version for version, _ in scene.facts(created.id)] == list(range(1, 11))


def test_of_several_changes_of_the_same_version_exactly_one_succeeds(scene: Scene) -> None:
    created = scene.service(scene.coalition)
    calls = [
        partial(scene.coordinator.UpdateService, change_of(created, name=name))
        for name in ("Uno", "Dos", "Tres", "Cuatro")
    ]
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(answer, calls)) == ["OK"] + ["stale_etag"] * 3


def test_a_new_name_of_an_organisation_is_shown_with_its_services(
    scene: Scene, member: Organization
) -> None:
    created = scene.service(member)
    change = pb.Organization(id=member.id, etag=etag_of(member), name="Después")
    scene.coordinator.UpdateOrganization(organization=change, update_mask=FieldMask(paths=["name"]))
    read = scene.coordinator.GetService(id=created.id)
    assert read.organization_name == "Después"
    assert read.etag != etag_of(created)  # a strong etag: another answer has another etag


def test_many_names_are_fetched_at_once_and_unknown_ids_are_left_out(scene: Scene) -> None:
    my_organization, other = scene.organization("Propia"), scene.organization("Ajena")
    service = scene.service(other)
    me, stranger = (
        scene.worker(my_organization, name="Xiomara"),
        scene.worker(other, name="Petrona"),
    )
    batch = scene.as_worker(me).BatchGet(
        service_ids=[service.id, "0" * 32, "x"],
        organization_ids=[my_organization.id, other.id, ""],
        worker_ids=[me.id, stranger.id, "\x00"],
    )
    assert [service.id for service in batch.services] == [service.id]
    assert {organization.name for organization in batch.organizations} == {"Propia", "Ajena"}
    assert dict(batch.worker_names) == {me.id: "Xiomara"}, (
        "names of workers are shown only within their organisation"
    )


def test_at_most_two_hundred_ids_are_fetched_at_once(scene: Scene) -> None:
    scene.coordinator.BatchGet(service_ids=["0" * 32] * 100, worker_ids=["0" * 32] * 100)
    assert wrong_fields(
        lambda: scene.coordinator.BatchGet(
            service_ids=["0" * 32] * 101, organization_ids=["0" * 32] * 100
        )
    ) == [("service_ids", "too_long")]


def test_a_member_on_probation_sees_no_shelter_but_its_own(
    scene: Scene, new_member: Organization
) -> None:
    shelter = scene.service(scene.coalition, "Casa", "HOU.TRANS", confidential=True)
    clinic = scene.service(scene.coalition, "Consulta", "MED.PRI")
    own_service = scene.service(new_member, "Albergue propio")
    worker = scene.by(new_member)
    assert refusal(lambda: worker.GetService(id=shelter.id)) == NOT_FOUND
    fetched = worker.BatchGet(service_ids=[shelter.id, clinic.id, own_service.id]).services
    assert {service.name for service in fetched} == {"Consulta", "Albergue propio"}
    scene.approve(new_member.id)
    assert worker.GetService(id=shelter.id).name == "Casa"


def test_hours_stored_in_a_former_time_zone_are_computed_again_after_an_upgrade(
    scene: Scene, manager: Stubs
) -> None:
    scene.clock.set(NOON.replace(hour=14, minute=30))  # 10:30 in Santo Domingo
    hours = pb.Schedule(freq=pb.FREQUENCY_WEEKLY, opens_at="10:00", closes_at="11:00")
    created = manager.CreateService(service=entry(country="DO", department="", schedules=[hours]))
    scene.rows(
        "UPDATE services SET open_hours = (SELECT range_agg(tstzrange(lower(span) + '2 h',"
        " upper(span) + '2 h')) FROM unnest(open_hours) AS span) WHERE id = %s RETURNING id",
        created.id,
    )
    assert manager.GetService(id=created.id).open_now is False
    migration = (MIGRATIONS[1] / "20261229100001_hours_by_zone.sql").read_text()
    with scene.owner.transaction(SYSTEM) as tx:
        tx.execute(migration.split("-- migrate:down")[0].encode())
    assert not manager.GetService(id=created.id).HasField("open_now")
    scene.sweep()
    assert manager.GetService(id=created.id).open_now is True
