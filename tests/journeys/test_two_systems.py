"""The same journey as in the browser, carried out by the systems of two partners.

The systems use REST with two API keys, and gRPC with reflection only.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.builders import EXPLAINED, refusal
from tests.journeys.typed import marked
from tests.notifications.receiver import ReceivedRequest, Receiver
from tests.parts.local_stack import until

NOW = datetime.now(UTC)


def request_about(receiver: Receiver, referral_id: str) -> ReceivedRequest:
    """Waits for the request about a sent referral, and returns it."""

    def matching() -> list[ReceivedRequest]:
        return [
            request
            for request in receiver.requests
            if request.type_() == "enlace.referral.sent.v1" and referral_id in request.body
        ]

    until(lambda: bool(matching()), 10)
    return matching()[0]


class System:
    """A partner's system with its key."""

    def __init__(self, stack: Any, organization: str) -> None:
        key = next(key for key in stack.demo["api_keys"] if key["organization"] == organization)
        self._root = stack.gateway + "/api/v1"
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {key['key']}"

    def call(self, method: str, path: str, body: Any = None, etag: str = "") -> Any:
        headers = {"If-Match": f'"{etag}"'} if etag else {}
        answer = self._http.request(
            method, self._root + path, json=body, headers=headers, timeout=20
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def act(self, referral: Any, verb: str, **body: Any) -> Any:
        return self.call("POST", f"/referrals/{referral['id']}/{verb}", body, referral["etag"])


def test_two_systems_carry_out_a_referral_by_rest_and_receive_signed_webhooks(
    stack: Any, receiver: Receiver
) -> None:
    ngo, shelter = System(stack, "Asociación Puentes"), System(stack, "Albergue Luna Nueva")
    hook = shelter.call("POST", "/webhooks", {"url": receiver.url, "kinds": []})
    times = []
    for _ in range(10):
        results = ngo.call("POST", "/services/search", {"words": "Luna Nueva"})
        service = next(
            s for s in results["items"] if any(code.startswith("HOU") for code in s["need_codes"])
        )
        need = next(code for code in service["need_codes"] if code.startswith("HOU"))
        person = ngo.call(
            "POST",
            "/people",
            {
                "identity": {"given_name": marked("Marisol")},
                "coarse": {"age_band": "18-24", "language": "es", "department": "NI-CI"},
                "safe_contact": {"channel_code": "through_worker"},
            },
        )
        receipt = ngo.call(
            "POST",
            f"/people/{person['id']}/receipts",
            {
                "recipient_organization_id": service["organization_id"],
                "field_groups": ["identity", "contact"],
                "purpose_codes": [need],
                "giver_code": "person",
                "manner_code": "spoken",
                "explained_codes": EXPLAINED,
            },
        )
        draft = ngo.call(
            "POST",
            "/referrals",
            {
                "person_id": person["id"],
                "need_code": need,
                "urgency": "emergency",
                "service_id": service["id"],
                "unsafe_code": "nothing",
            },
        )
        sent = ngo.act(draft, "send", receipt_id=receipt["id"])
        answer_time = time.monotonic()
        request = request_about(receiver, sent["id"])
        times.append((request.time - answer_time) * 1000)
        assert request.verify_signature(hook["secret"])
        assert "Marisol" not in request.body
    referral = shelter.act(
        shelter.call("GET", f"/referrals/{sent['id']}"),
        "accept",
        planned_first_contact_time=NOW.isoformat(),
    )
    identity = shelter.call(
        "POST",
        f"/people/{referral['person_id']}/open",
        {"purpose_code": need, "field_groups": ["identity"], "referral_id": referral["id"]},
    )
    assert identity["given_name"] == marked("Marisol")
    referral = shelter.act(referral, "start", first_contact_time=NOW.isoformat())
    referral = shelter.act(
        referral, "complete", outcome_code="fully_met", delivered_need_codes=[need]
    )
    referral = ngo.act(
        ngo.call("GET", f"/referrals/{referral['id']}"), "close", help_came_code="yes"
    )
    assert referral["state"] == "closed"
    shelter.call("DELETE", f"/webhooks/{hook['id']}", etag=hook["etag"])
    print(
        f"\nanswer to the sender → webhook received: median {statistics.median(times):.1f} ms, most"
        f" {max(times):.1f} ms"
    )


class WithToken(grpc.StreamStreamClientInterceptor):
    """Adds a fresh token to the call of a stream."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        metadata = [
            *(client_call_details.metadata or ()),
            ("authorization", f"Bearer {self._token()}"),
        ]
        return continuation(client_call_details._replace(metadata=metadata), request_iterator)


class ByReflection:
    """A client that knows only an address and a key.

    The client has no stubs and no .proto file, and gets its first token by REST.
    """

    def __init__(self, stack: Any, name: str) -> None:
        def token() -> str:
            answer = requests.post(
                f"{stack.gateway}/api/v1/tokens",
                json={"api_key": stack.api_key("Puentes")},
                timeout=10,
            )
            return str(answer.json()["tokens"][f"enlace.{name}"])

        self._channel = grpc.insecure_channel(stack.demo["grpc"][name])
        self._database = ProtoReflectionDescriptorDatabase(
            grpc.intercept_channel(self._channel, WithToken(token))
        )
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        return [str(name) for name in self._database.get_services()]

    def call(self, service: str, rpc: str, token: str = "", **fields: Any) -> Any:
        method = self._pool.FindServiceByName(service).FindMethodByName(rpc)
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        send = self._channel.unary_unary(
            f"/{service}/{rpc}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return send(
            request(**fields),
            metadata=(("authorization", f"Bearer {token}"),) if token else (),
            timeout=10,
        )


def test_two_systems_carry_out_a_referral_by_grpc_with_reflection_alone(stack: Any) -> None:
    partners, referrals = ByReflection(stack, "partners"), ByReflection(stack, "referrals")
    assert "enlace.referrals.v1.Referrals" in referrals.services()
    tokens = {
        key["organization"]: partners.call(
            "enlace.partners.v1.Tokens", "IssueToken", api_key=key["key"]
        ).tokens
        for key in stack.demo["api_keys"]
    }
    ngo, shelter = tokens["Asociación Puentes"], tokens["Albergue Luna Nueva"]
    matches = partners.call(
        "enlace.partners.v1.Directory",
        "MatchServices",
        ngo["enlace.partners"],
        need_code="HOU.EMG",
        country="NI",
        department="NI-CI",
    ).matches
    service = next(
        match.service
        for match in matches
        if match.service.organization_name == "Albergue Luna Nueva"
    )
    ngo, shelter = ngo["enlace.referrals"], shelter["enlace.referrals"]
    person = referrals.call(
        "enlace.referrals.v1.People",
        "CreatePerson",
        ngo,
        coarse={"age_band": "AGE_BAND_25_TO_59"},
        safe_contact={"channel_code": "SAFE_CHANNEL_THROUGH_WORKER"},
    )
    receipt = referrals.call(
        "enlace.referrals.v1.People",
        "CreateReceipt",
        ngo,
        receipt={
            "person_id": person.id,
            "recipient_organization_id": service.organization_id,
            "field_groups": [1],
            "purpose_codes": ["HOU"],
            "giver_code": "GIVER_PERSON",
            "manner_code": "MANNER_SPOKEN",
            "explained_codes": [1, 2, 3, 4, 5, 6, 7],
        },
    )
    name = "enlace.referrals.v1.Referrals"
    draft = referrals.call(
        name,
        "CreateReferral",
        ngo,
        person_id=person.id,
        need_code="HOU.EMG",
        urgency=3,
        service_id=service.id,
        unsafe_code=2,
    )
    sent = referrals.call(
        name, "SendReferral", ngo, id=draft.id, etag=draft.etag, receipt_id=receipt.id
    )
    accepted_referral = referrals.call(
        name, "AcceptReferral", shelter, id=sent.id, etag=sent.etag, planned_first_contact_time=NOW
    )
    started_referral = referrals.call(
        name,
        "StartReferral",
        shelter,
        id=sent.id,
        etag=accepted_referral.etag,
        first_contact_time=NOW,
    )
    completed_referral = referrals.call(
        name,
        "CompleteReferral",
        shelter,
        id=sent.id,
        etag=started_referral.etag,
        outcome_code="OUTCOME_FULLY_MET",
    )
    closed_referral = referrals.call(
        name,
        "CloseReferral",
        ngo,
        id=sent.id,
        etag=completed_referral.etag,
        help_came_code="HELP_CAME_YES",
    )
    assert closed_referral.state == 9


def test_a_token_is_valid_at_its_own_service_and_at_no_other(stack: Any) -> None:
    answer = ByReflection(stack, "partners").call(
        "enlace.partners.v1.Tokens", "IssueToken", api_key=stack.api_key("Puentes")
    )
    fields = {
        "partners": ("enlace.partners.v1.Directory", "ListOrganizations"),
        "referrals": ("enlace.referrals.v1.Referrals", "ListReferrals"),
        "notifications": ("enlace.notifications.v1.Notifications", "CountUnread"),
    }
    assert set(answer.tokens) == {f"enlace.{name}" for name in fields}
    for name, (service, rpc) in fields.items():
        remote = ByReflection(stack, name)
        remote.call(service, rpc, answer.tokens[f"enlace.{name}"])
        for other_name in fields.keys() - {name}:
            call = partial(remote.call, service, rpc, answer.tokens[f"enlace.{other_name}"])
            assert refusal(call) == ("UNAUTHENTICATED", "token_invalid")


def test_tokens_issued_by_rest_are_valid_in_grpc_for_a_key_and_for_a_session_until_it_ends(
    stack: Any,
) -> None:
    api, account = stack.gateway + "/api/v1", stack.account("puentes")

    def post(path: str, **body: str) -> requests.Response:
        return requests.post(api + path, json=body, timeout=10)

    directory = ByReflection(stack, "partners")
    session = post("/sessions", email=account["email"], password=account["password"]).json()[
        "session_secret"
    ]
    for credential in ({"api_key": stack.api_key("Puentes")}, {"session_secret": session}):
        answer = post("/tokens", **credential).json()
        assert answer["organization"]["name"] == "Asociación Puentes"
        assert ("worker" in answer) == ("session_secret" in credential)
        directory.call(
            "enlace.partners.v1.Directory", "ListOrganizations", answer["tokens"]["enlace.partners"]
        )
    assert post("/sessions/end", session_secret=session).status_code == 204
    ended_answer = post("/tokens", session_secret=session)
    assert (ended_answer.status_code, ended_answer.json()["reason"]) == (401, "session_ended")
    wrong_answer = post("/sessions", email="nadie@puentes.demo", password="una frase de prueba")
    assert (wrong_answer.status_code, wrong_answer.json()["reason"]) == (401, "sign_in_failed")
    text = "".join(log.read_text(errors="replace") for log in stack.logs.iterdir() if log.is_file())
    assert not [
        secret for secret in (session, account["password"], "nadie@puentes.demo") if secret in text
    ]
