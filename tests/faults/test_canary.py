"""Sends marked personal data through the whole stack, in valid and in invalid requests.

Afterwards the only traces of the data are in the referrals service, in sealed form.
"""

from __future__ import annotations

import base64
import html
import json
import quopri
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
import requests
from google.protobuf.field_mask_pb2 import FieldMask
from kafka import KafkaProducer
from playwright.sync_api import Page, Playwright

from chassis.ids import new_id
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.faults import canary
from tests.faults.canary import Contents, Marks
from tests.notifications.receiver import Receiver
from tests.parts.browser import PROGRAM
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import NEED, STEPS, Cast, seconds_from_now

GROUPS = [
    people_pb2.FIELD_GROUP_IDENTITY,
    people_pb2.FIELD_GROUP_CONTACT,
    people_pb2.FIELD_GROUP_HEALTH,
]


@dataclass
class Output:
    """The output of the stack while it handled marked data."""

    stack: LocalStack
    marks: Marks
    errors: dict[str, bytes] = field(default_factory=dict)
    webhooks: dict[str, bytes] = field(default_factory=dict)
    mails: dict[str, bytes] = field(default_factory=dict)
    profile: Contents = field(default_factory=dict)
    given_name_read: str = ""

    def record_refusal(self, name: str, call: Callable[[], Any]) -> None:
        """Makes an invalid call, and stores the whole content of its answer."""
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error: Any = caught.value
        self.errors[name] = repr(
            [error.code(), error.details(), error.trailing_metadata()]
        ).encode()


@pytest.fixture(scope="module")
def output(
    faulty_stack: LocalStack,
    cast: Cast,
    playwright: Playwright,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Output]:
    """The output of the whole story, run once."""
    output, profile = Output(faulty_stack, Marks()), tmp_path_factory.mktemp("profile")
    receiver = Receiver()
    try:
        webhook = notifications_pb2.Webhook(url=receiver.url, enabled=True)
        created = cast.sender.webhooks.CreateWebhook(
            notifications_pb2.CreateWebhookRequest(webhook=webhook)
        )
        referral_id = send_by_grpc(output, cast)
        send_invalid_grpc(output, cast)
        send_by_rest(output)
        send_to_pages(output)
        use_browser(output, playwright, profile)
        output.profile = canary.in_folder(profile)
        receiver.wait_for(6, 30)
        wait_until_sent(faulty_stack, referral_id)
        cast.sender.webhooks.DeleteWebhook(
            notifications_pb2.DeleteWebhookRequest(id=created.webhook.id)
        )
        output.webhooks = {
            f"{n} {request.path}": (request.body + repr(request.headers)).encode()
            for n, request in enumerate(receiver.requests)
        }
        worker = faulty_stack.worker("trabajadora@puentes")
        answer = worker.notifications.ListDevelopmentMails(
            notifications_pb2.ListDevelopmentMailsRequest()
        )
        output.mails = {
            mail.id: str(mail).encode() + mail.body.encode() + mail.subject.encode()
            for mail in answer.mails
        }
        yield output
    finally:
        receiver.close()


def send_by_grpc(output: Output, cast: Cast) -> str:
    """Creates a file, a contact, and a referral with a note at every step."""
    text = output.marks.text
    identity = people_pb2.Identity(
        given_name=text("given name"),
        family_name=text("family name"),
        phone=output.marks.phone("phone"),
        address=text("address"),
        health_note=text("health note"),
        exploitation_note=text("exploitation note"),
        family_note=text("family note"),
        document_number=text("document number"),
    )
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours=text("hours"),
        code_word=text("code word"),
        never_say=text("never say"),
    )
    person_id, receipt_id = cast.person(identity, plan)
    operator = output.stack.worker("operadora@llamayvive")
    contact = contacts_pb2.Contact(
        line_country="NI",
        kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
        language="es",
        note=text("contact note"),
    )
    created = operator.contacts.CreateContact(
        contacts_pb2.CreateContactRequest(contact=contact, request_id=new_id())
    )
    change = contacts_pb2.Contact(
        id=created.contact.id, etag=created.contact.etag, note=text("second contact note")
    )
    operator.contacts.UpdateContact(
        contacts_pb2.UpdateContactRequest(contact=change, update_mask=FieldMask(paths=["note"]))
    )

    draft = cast.sender.referrals.CreateReferral(cast.draft(person_id))
    send_request = pb.SendReferralRequest(
        id=draft.id, etag=draft.etag, receipt_id=receipt_id, request_id=new_id()
    )
    referral = cast.sender.referrals.SendReferral(send_request)
    for step in STEPS:
        request = step.request(id=referral.id, etag=referral.etag, request_id=new_id())
        if "note" in request.DESCRIPTOR.fields_by_name:
            request.note = text(f"note of {step.fact}")
        referral = getattr(cast.who(step).referrals, step.rpc)(request)
        if step.fact == "accepted":
            open_request = people_pb2.OpenPersonRequest(
                id=person_id, purpose_code=NEED, field_groups=GROUPS, referral_id=referral.id
            )
            output.given_name_read = cast.receiver.people.OpenPerson(open_request).given_name
    other = cast.sender.referrals.CreateReferral(cast.draft(person_id))
    send_request = pb.SendReferralRequest(
        id=other.id,
        etag=other.etag,
        override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
        note=text("override note"),
        request_id=new_id(),
    )
    sent = cast.sender.referrals.SendReferral(send_request)
    decline_request = pb.DeclineReferralRequest(
        id=sent.id,
        etag=sent.etag,
        reason_code=pb.DECLINE_REASON_OTHER,
        note=text("decline note"),
        request_id=new_id(),
    )
    cast.receiver.referrals.DeclineReferral(decline_request)
    return referral.id


def send_invalid_grpc(output: Output, cast: Cast) -> None:
    """Sends marked texts instead of codes, dates, ids and tokens."""
    text, people, referrals = output.marks.text, cast.sender.people, cast.sender.referrals
    identity = people_pb2.Identity(
        given_name=text("name in a refused file"),
        birth_date=text("birth date"),
        phone=text("phone in words"),
    )
    coarse = pb.CoarsePerson(language=text("language"), country=text("country"))
    output.record_refusal(
        "CreatePerson",
        lambda: people.CreatePerson(
            people_pb2.CreatePersonRequest(identity=identity, coarse=coarse)
        ),
    )
    long_identity = people_pb2.Identity(health_note=text("note that is too long") * 2000)
    output.record_refusal(
        "CreatePerson long",
        lambda: people.CreatePerson(people_pb2.CreatePersonRequest(identity=long_identity)),
    )
    plan = people_pb2.SafeContact(hours=text("hours of a refused plan"))
    output.record_refusal(
        "CreatePerson plan",
        lambda: people.CreatePerson(people_pb2.CreatePersonRequest(safe_contact=plan)),
    )
    output.record_refusal(
        "GetPerson", lambda: people.GetPerson(people_pb2.GetPersonRequest(id=text("person id")))
    )
    output.record_refusal(
        "CreateReferral",
        lambda: referrals.CreateReferral(
            pb.CreateReferralRequest(person_id=text("id"), need_code=text("need"))
        ),
    )
    output.record_refusal(
        "ListReferrals",
        lambda: referrals.ListReferrals(pb.ListReferralsRequest(page_token=text("page token"))),
    )
    stale_request = pb.AcknowledgeReferralRequest(id=new_id(), etag=text("etag"))
    output.record_refusal(
        "AcknowledgeReferral", lambda: referrals.AcknowledgeReferral(stale_request)
    )
    cast.sender.directory.SearchServices(
        directory_pb2.SearchServicesRequest(words=text("search words"))
    )
    wrong_request = contacts_pb2.GetReferenceStatusRequest(
        reference=text("reference"), pin=text("pin")
    )
    output.record_refusal(
        "GetReferenceStatus", lambda: cast.sender.references.GetReferenceStatus(wrong_request)
    )
    accept_request = pb.AcceptReferralRequest(
        id=new_id(),
        etag="v3",
        planned_first_contact_time=seconds_from_now(60),
        note=text("note on nothing"),
    )
    output.record_refusal("AcceptReferral", lambda: referrals.AcceptReferral(accept_request))


def send_by_rest(output: Output) -> None:
    """Sends a valid file, and every kind of invalid request."""
    text = output.marks.text
    root = f"{output.stack.gateway}/api/v1"
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {output.stack.api_key('Puentes')}"
        valid_person = {
            "identity": {
                "given_name": text("name by REST"),
                "phone": output.marks.phone("phone by REST"),
            },
            "coarse": {"country": "NI"},
        }
        assert session.post(f"{root}/people", json=valid_person, timeout=10).status_code == 201
        invalid_requests: list[tuple[str, str, dict[str, Any]]] = [
            (
                "POST",
                "/people",
                {
                    "json": {
                        "identity": {
                            "given_name": text("REST given"),
                            "birth_date": text("REST birth date"),
                        }
                    }
                },
            ),
            (
                "POST",
                "/people",
                {
                    "json": {
                        "coarse": {"country": text("REST country"), "age_band": text("REST age")}
                    }
                },
            ),
            ("POST", "/people", {"json": {"surname": text("REST unknown field")}}),
            ("POST", "/people", {"json": {"identity": text("REST text for an object")}}),
            (
                "POST",
                "/people",
                {
                    "data": '{"identity": ' + text("REST broken JSON"),
                    "headers": {"content-type": "application/json"},
                },
            ),
            (
                "POST",
                "/people",
                {
                    "data": text("REST other media").encode(),
                    "headers": {"content-type": "text/plain"},
                },
            ),
            ("GET", f"/referrals?state={quote(text('REST filter'))}", {}),
            ("GET", f"/referrals?cursor={quote(text('REST cursor'))}", {}),
            ("GET", f"/people/{quote(text('REST path'), safe='')}", {}),
            ("GET", f"/{quote(text('REST route'), safe='')}", {}),
            (
                "POST",
                f"/referrals/{new_id()}/acknowledge",
                {"json": {}, "headers": {"If-Match": quote(text("REST etag"))}},
            ),
            ("GET", "/people", {"headers": {"Authorization": "Bearer " + quote(text("REST key"))}}),
            (
                "POST",
                "/references/status",
                {"json": {"reference": text("REST reference"), "pin": text("REST pin")}},
            ),
        ]
        for number, (method, path, options) in enumerate(invalid_requests):
            answer = session.request(method, root + path, timeout=10, **options)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
            output.errors[f"{number} {method} {path[:20]} {answer.status_code}"] = (
                answer.content + repr(answer.headers).encode()
            )


def send_to_pages(output: Output) -> None:
    """Sends marked texts to pages: in addresses, a wrong sign-in, a refused form, and headers.

    A page may show such text again to the person who typed it.
    """
    text, gateway = output.marks.text, output.stack.gateway
    with requests.Session() as session:
        session.get(f"{gateway}/{quote(text('page address'))}", timeout=10)
        session.get(
            f"{gateway}/directory",
            params={"words": text("page search"), "q": text("page query")},
            timeout=10,
        )
        form = {
            "email": text("e-mail"),
            "password": text("password"),
            "form_token": text("form token"),
        }
        session.post(f"{gateway}/sign-in", data=form, timeout=10)
        page = session.get(f"{gateway}/sign-in", timeout=10).text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        form = {
            "email": text("second e-mail") + "@example.org",
            "password": text("second password"),
            "form_token": token,
        }
        session.post(f"{gateway}/sign-in", data=form, timeout=10)
        session.get(
            gateway,
            headers={
                "Cookie": f"session={quote(text('cookie'))}",
                "User-Agent": quote(text("browser")),
            },
            timeout=10,
        )


def use_browser(output: Output, playwright: Playwright, folder: Path) -> None:
    """Enters and reads data as a worker, in a browser with a profile, as on a shared computer."""
    text, gateway = output.marks.text, output.stack.gateway
    context = playwright.chromium.launch_persistent_context(
        str(folder), executable_path=PROGRAM, args=["--no-sandbox"], locale="es-NI"
    )
    page = context.pages[0]
    for name, act in (
        ("operadora@llamayvive", record_contact),
        ("trabajadora@puentes", create_file),
    ):
        account = output.stack.account(name)
        page.goto(f"{gateway}/sign-in")
        page.fill("#email", account["email"])
        page.fill("#password", account["password"])
        page.press("#password", "Enter")
        page.wait_for_url("**/today*")
        act(page, gateway, text, output.marks.phone)
        page.locator("#exit").click()
        page.wait_for_load_state()
    context.close()


def record_contact(
    page: Page, gateway: str, text: Callable[[str], str], _phone: Callable[[str], str]
) -> None:
    """Records a contact with a note, and searches."""
    page.goto(f"{gateway}/line/new")
    page.fill("textarea[name=note]", text("typed note"))
    page.locator(".save button").click()
    page.wait_for_load_state()
    page.fill("#q-top", text("typed search"))
    page.press("#q-top", "Enter")
    page.wait_for_load_state()


def create_file(
    page: Page, gateway: str, text: Callable[[str], str], phone: Callable[[str], str]
) -> None:
    """Creates a person's file with marked values, and waits for its page."""
    page.goto(f"{gateway}/people/new")
    for name in ("given_name", "family_name", "hours", "code_word", "never_say"):
        page.fill(f"[name={name}]", text(f"typed {name}"))
    page.fill("[name=phone]", phone("typed phone"))
    page.check("[name=channel_code][value=phone]")
    page.locator(".save button").click()
    page.wait_for_url("**/people/*done=saved*")


def wait_until_sent(stack: LocalStack, referral_id: str) -> None:
    """Waits until all facts are published and all messages are sent."""
    with stack.database("notifications") as database:
        closed = "SELECT 1 FROM messages WHERE referral_id = %s AND kind = 'referral_closed'"
        until(lambda: database.execute(closed, (referral_id,)).fetchone() is not None)
        until(
            lambda: (
                database.execute(
                    "SELECT 1 FROM deliveries WHERE status = 'WAITING' LIMIT 1"
                ).fetchone()
                is None
            )
        )


PLACES: dict[str, Callable[[Output], Contents]] = {
    "topics": lambda output: canary.in_topics(output.stack),
    "logs": lambda output: canary.in_logs(output.stack),
    "databases": lambda output: canary.in_databases(output.stack),
    "metrics": lambda output: canary.in_metrics(output.stack),
    "webhooks": lambda output: output.webhooks,
    "mails": lambda output: output.mails,
    "errors": lambda output: output.errors,
    "a browser's profile": lambda output: output.profile,
}


@pytest.mark.parametrize("place", PLACES)
def test_no_planted_text_is_found_in(output: Output, place: str) -> None:
    contents = PLACES[place](output)
    assert sum(len(part) for part in contents.values()) > 100, (
        "the place is empty, so the search proves nothing"
    )
    assert canary.hits(output.marks, contents) == []


def test_a_receiver_with_consent_reads_the_planted_text(output: Output) -> None:
    assert output.marks.cores["given name"] in output.given_name_read


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "capitals": lambda text: text.upper().encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, shifted by a byte": lambda text: base64.b64encode(b"x" + text.encode()),
    "base64, shifted by two bytes": lambda text: base64.b64encode(b"xx" + text.encode()),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "url": lambda text: quote(text).encode(),
    "json": lambda text: json.dumps(text).encode(),
    "html": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "backwards": lambda text: text[::-1].encode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_scanner_finds_a_mark_encoded_as(encoding: str) -> None:
    for make in (Marks.text, Marks.phone):
        marks = Marks()
        planted = ENCODINGS[encoding](make(marks, "planted"))
        assert marks.found_in(b"before " + planted + b" after")
        assert not Marks().found_in(planted)


def test_the_scanner_finds_a_mark_in_every_place(output: Output) -> None:
    marks, stack = Marks(), output.stack
    (stack.logs / "partners.log").open("ab").write(ENCODINGS["json"](marks.text("log")))
    producer = KafkaProducer(bootstrap_servers=stack.state["kafka"])
    # A replay request for a topic that does not exist: no service acts on it.
    header = [("note", ENCODINGS["base64"](marks.text("header")))]
    producer.send(
        "enlace.replays.v1", key=b"nobody", value=marks.text("body").encode(), headers=header
    ).get(10)
    producer.close(timeout=5)
    hits = canary.hits(marks, canary.in_logs(stack)) + canary.hits(marks, canary.in_topics(stack))
    for service, planting in (
        ("partners", "UPDATE organizations SET description = %s"),
        ("notifications", "UPDATE deliveries SET body = %s"),
        ("referrals", "UPDATE contacts SET note_sealed = convert_to(%s, 'UTF8')"),
    ):
        with stack.database(service) as database, database.transaction(force_rollback=True):
            assert database.execute(planting, (marks.text(service),)).rowcount
            hits += canary.hits(marks, canary.dump(database))
    for name, contents in (
        ("webhook", output.webhooks),
        ("mail", output.mails),
        ("error", output.errors),
    ):
        hits += canary.hits(
            marks, {**contents, "planted": ENCODINGS["quoted-printable"](marks.text(name))}
        )
    assert {hit.split(": ")[1].split(" (")[0] for hit in hits} == marks.cores.keys()
