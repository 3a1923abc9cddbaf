"""Systems of partners that call a running stack over REST.

Every answer is checked against the OpenAPI document.
"""

import re
from typing import Any

import requests

from protos.partners.v1 import members_pb2
from protos.stubs import PartnersStubs
from tests.gateway.openapi_document import DOCUMENT, schema_of_body, violations
from tests.parts.local_stack import LocalStack

TEMPLATES = {
    re.compile(re.sub(r"\\?\{\w+\\?\}", "[^/]+", path) + r"\Z"): path
    for path in sorted(DOCUMENT["paths"], key=lambda p: "{" in p)
}


class Partner:
    """A partner's system with a credential; it relies on the OpenAPI document."""

    def __init__(self, gateway: str, credential: str = "") -> None:
        self._root = f"{gateway}/api/v1"
        self._session = requests.Session()
        if credential:
            self._session.headers["Authorization"] = f"Bearer {credential}"

    def raw(self, method: str, path: str, json: Any = None, **headers: str) -> requests.Response:
        """Sends a request and returns the whole answer; header names have underscores."""
        http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._session.request(
            method, self._root + path, json=json, headers=http_headers, timeout=20
        )
        check(method, path, answer)
        return answer

    def call(
        self, method: str, path: str, json: Any = None, status: int = 200, **headers: str
    ) -> Any:
        """Sends a request, expects a status, and returns the body."""
        answer = self.raw(method, path, json, **headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, json: Any = None, **options: Any) -> Any:
        return self.call("POST", path, json, **options)

    def create(self, path: str, json: Any, **headers: str) -> Any:
        """Creates a resource and returns it."""
        return self.call("POST", path, json, status=201, **headers)

    def refusal(
        self, method: str, path: str, json: Any = None, **headers: str
    ) -> tuple[int, str, list[tuple[str, str]]]:
        """Returns the status and reason of a refused request, and its errors: (place, reason)."""
        problem = self.raw(method, path, json, **headers).json()
        errors = [
            (error.get("pointer", error.get("header")), error["reason"])
            for error in problem.get("errors", [])
        ]
        return problem["status"], problem["reason"], errors

    def act(self, referral: Any, verb: str, **fields: Any) -> Any:
        """Takes a step of a referral in the version that was last read."""
        return self.post(f"/referrals/{referral['id']}/{verb}", fields, If_Match=tag(referral))


def tag(resource: Any) -> str:
    """Returns the value of If-Match for the version of a resource."""
    return f'"{resource["etag"]}"'


def check(method: str, path: str, answer: requests.Response) -> None:
    """Checks an answer against the document."""
    address = "/api/v1" + path.split("?")[0]
    template = next(
        (
            documented_path
            for pattern, documented_path in TEMPLATES.items()
            if pattern.match(address)
        ),
        "",
    )
    operation = DOCUMENT["paths"].get(template, {}).get(method.lower())
    if operation is None:
        return
    responses = operation["responses"]
    documented = responses.get(str(answer.status_code), responses["default"])
    if "$ref" in documented:
        documented = DOCUMENT["components"]["responses"][documented["$ref"].rsplit("/", 1)[1]]
    if "content" not in documented:
        assert not answer.content
        return
    assert answer.headers["Content-Type"] in documented["content"], answer.text
    assert violations(schema_of_body(documented), answer.json()) == []


def session_of(stack: LocalStack, email_part: str) -> str:
    """Returns the secret of a session of the demo account whose e-mail contains this text."""
    account = stack.account(email_part)
    request = members_pb2.SignInRequest(email=account["email"], password=account["password"])
    return PartnersStubs(stack.channel("partners")).tokens.SignIn(request).session_secret


def worker(stack: LocalStack, email_part: str) -> Partner:
    """Returns a partner's system with a session of the demo account that `session_of` finds."""
    return Partner(stack.gateway, session_of(stack, email_part))


def system(stack: LocalStack, organization: str) -> Partner:
    """Returns the system of an organisation, with its demo API key."""
    return Partner(stack.gateway, stack.api_key(organization))


def create_person(partner: Partner) -> Any:
    """Creates the file of a made-up person, with a safe-contact plan."""
    coarse = {
        "age_band": "18-24",
        "gender_code": "Feminine",
        "language": "es",
        "country": "NI",
        "department": "NI-CI",
    }
    identity = {"given_name": "Ejemplo", "phone": "+50500000000"}
    person = partner.create("/people", {"identity": identity, "coarse": coarse})
    plan = {"channel_code": "through_worker", "hours": "mañanas"}
    path = f"/people/{person['id']}/safe-contact"
    return partner.call("PUT", path, plan, If_Match=tag(person))


def own_service(receiver: Partner) -> Any:
    """Returns the service to which the first referral in the partner's inbox was sent."""
    referrals = receiver.get("/referrals?box=inbox&limit=200")["items"]
    received_referral = next(referral for referral in referrals if referral["side"] == "receiver")
    return receiver.get(f"/services/{received_referral['service_id']}")
