"""Deprecations are announced at least a year before an operation ends.

The headers of every answer of a deprecated operation, and the OpenAPI document, state both dates.
"""

from typing import Any

import pytest
from flask import Flask, g
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from chassis import contract
from chassis.limits import WINDOW
from protos.contract.v1 import contract_pb2
from services.gateway.api import openapi
from services.gateway.api.routes import Routes, install
from services.gateway.api.spec import SETTINGS, DocumentedApi
from services.gateway.edge.credentials import Exchange
from services.gateway.edge.limits import Limits

SINCE, UNTIL = "2027-01-01", "2028-01-01"


def service(package: str, since: str = SINCE, until: str = UNTIL) -> ServiceDescriptor:
    """Returns a service made for the test, with one deprecated rpc."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        dependency=["protos/contract/v1/contract.proto", "google/api/annotations.proto"],
    )
    file.message_type.add(name="Empty")
    method = file.service.add(name="Old").method.add(
        name="GetOld", input_type=f".{package}.Empty", output_type=f".{package}.Empty"
    )
    rules = contract_pb2.Rules(
        scope=contract_pb2.SCOPE_REFERRALS_READ, deprecate_date=since, sunset_date=until
    )
    method.options.Extensions[contract_pb2.rules].CopyFrom(rules)
    method.options.Extensions[annotations_pb2.http].get = "/api/v1/old"
    pool: Any = descriptor_pool.Default()
    descriptor: ServiceDescriptor = pool.AddSerializedFile(
        file.SerializeToString()
    ).services_by_name["Old"]
    return descriptor


def test_a_deprecated_operation_is_announced_on_every_answer_and_in_the_document() -> None:
    routes = Routes(service("ending"))
    app = Flask(__name__)
    app.config.update(SETTINGS)
    app.extensions.update(limits=Limits(WINDOW), exchange=Exchange())

    @app.before_request
    def begin() -> None:
        g.request_id = ""

    api = DocumentedApi(app)
    root = install(app, [routes])
    root.register_views_in_doc(api, app, api.spec, name=root.name, parameters=None)
    answer = app.test_client().get("/api/v1/old")  # even a 401 has the announcement
    assert (answer.status_code, answer.headers["Deprecation"], answer.headers["Sunset"]) == (
        401,
        "@1798761600",
        "Sat, 01 Jan 2028 00:00:00 GMT",
    )
    assert 'rel="deprecation"' in answer.headers["Link"]
    operation = api.spec.to_dict()["paths"]["/api/v1/old"]["get"]
    assert {"Deprecation", "Sunset"} <= operation["responses"]["204"]["headers"].keys()
    assert (operation["deprecated"], operation["x-deprecate-date"], operation["x-sunset-date"]) == (
        True,
        SINCE,
        UNTIL,
    )


@pytest.mark.parametrize(
    ("package", "since", "until"),
    [("too_short", SINCE, "2027-12-31"), ("no_end", SINCE, ""), ("no_start", "", UNTIL)],
)
def test_a_deprecation_without_two_dates_a_year_apart_is_refused(
    package: str, since: str, until: str
) -> None:
    with pytest.raises(TypeError, match="at least a year apart"):
        contract.rules(service(f"ending_{package}", since, until).methods_by_name["GetOld"])


def test_nothing_is_deprecated_today() -> None:
    """docs/versioning.md says so; a commit that deprecates something has to change that page."""
    assert not [
        path
        for path, item in openapi()["paths"].items()
        for operation in item.values()
        if "deprecated" in operation
    ]
