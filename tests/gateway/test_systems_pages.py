"""The pages about a member's systems: its webhooks and its keys.

They show the deliveries of the last day, each delivery as it was sent, a new secret (once only),
and a description of what each key may do.
"""

import html
import re
import shlex
import subprocess
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from chassis import errors
from chassis.wire import timestamp
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import members_pb2 as m
from services.gateway.site.desk.webhooks import curl
from services.gateway.site.language import i18n
from services.gateway.site.parts import pictures
from services.notifications.domain.webhook import TEST
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send
from tests.notifications.receiver import Receiver

OTHER_ID = "b" * 32


def hour(hours_ago: int, delivered: int, failed: int) -> n.DeliveryHour:
    """Returns the deliveries of the hour that began `hours_ago` hours before the present hour."""
    start = i18n.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    return n.DeliveryHour(
        webhook_id=ID, start_time=timestamp(start), delivered=delivered, failed=failed
    )


def attempt(**values: object) -> n.DeliveryAttempt:
    """Returns an attempt to deliver, with its headers."""
    return n.DeliveryAttempt(
        attempt_time=timestamp(i18n.now()),
        headers={
            "accept": "*/*",
            "accept-encoding": "gzip",
            "connection": "keep-alive",
            "webhook-id": ID,
            "webhook-signature": "v1,a= v1,b=",
        },
        duration_ms=12,
        **values,  # type: ignore[arg-type]
    )


def test_a_day_is_the_last_24_hours_including_hours_without_deliveries(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    hours = [hour(0, 1, 0), hour(23, 1000, 4), hour(24, 7, 7)]
    day = pictures.day(hours, i18n.now())
    assert (len(day), sum(bar.delivered for bar in day), sum(bar.failed for bar in day)) == (
        pictures.HOURS,
        1001,
        4,
    )
    fakes.answers |= {
        "GetWebhook": n.Webhook(id=ID, url="https://one.example/", enabled=True),
        "ListDeliveryHours": n.ListDeliveryHoursResponse(hours=hours),
    }
    page = client.get(f"/webhooks/{ID}").text
    bars = re.findall(r'<rect class="(ok|failed)" x="([\d.]+)%" y="\d+" .*?height="(\d+)"', page)
    assert bars == [("ok", "0.0", "36"), ("failed", "0.0", "3"), ("ok", "95.83", "3")]


def test_the_list_requests_the_hours_of_all_endpoints_in_one_call(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    hooks = [
        n.Webhook(id=id, url=f"https://{name}.example/", enabled=True)
        for id, name in ((ID, "one"), (OTHER_ID, "other"))
    ]
    fakes.answers |= {
        "ListWebhooks": n.ListWebhooksResponse(webhooks=hooks),
        "ListDeliveryHours": n.ListDeliveryHoursResponse(hours=[hour(3, 5, 2), hour(1, 1, 0)]),
    }
    page = client.get("/webhooks").text
    assert fakes.requests("ListDeliveryHours") == [n.ListDeliveryHoursRequest()]
    assert missing(page, "Llegaron <b>6</b>", "Fallaron <b>2</b>") == []
    assert (page.count("<rect"), page.count("Nada enviado en las últimas 24 horas.")) == (3, 1)
    assert len(re.findall(r"<tr><td>\d\d:\d\d</td>", page)) == 2  # the same figures as text


def test_a_delivery_shows_its_attempts_its_headers_and_its_body(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    failed_attempt = attempt(http_status=503, error_code=n.DELIVERY_ERROR_HTTP)
    body = '{"type":"enlace.referral.sent.v1"}'
    fakes.answers["GetDelivery"] = n.Delivery(
        id=ID, webhook_id=ID, kind="referral_sent", status=n.DELIVERY_STATUS_DELIVERED, attempts=2,
        body_sha256="f" * 64,
        sent=n.DeliveryContent(body=body, attempts=[attempt(http_status=204), failed_attempt]),
    )  # fmt: skip
    page = html.unescape(client.get(f"/webhooks/{ID}/deliveries/{ID}").text)
    assert fakes.last("GetDelivery") == n.GetDeliveryRequest(id=ID, webhook_id=ID)
    expected = (
        f"<code>{body}</code>",
        "respondió con error</b> · 503 · 12 ms",
        "Llegó</b> · 204 · 12 ms",
    )
    assert missing(page, *expected) == []
    assert page.count("webhook-signature: v1,a= v1,b=\n") == 2


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [(0, "Ningún intento todavía."), (4, "Los intentos se guardan 30 días.")],
)
def test_a_delivery_without_attempts_says_why(
    fakes: FakePageServices, client: FlaskClient, attempts: int, expected: str
) -> None:
    fakes.answers["GetDelivery"] = n.Delivery(
        id=ID, kind="referral_sent", attempts=attempts, sent=n.DeliveryContent(body="{}")
    )
    assert missing(client.get(f"/webhooks/{ID}/deliveries/{ID}").text, expected, "curl") == ["curl"]


def test_a_test_delivery_is_called_a_test(fakes: FakePageServices, client: FlaskClient) -> None:
    fakes.answers |= {
        "GetDelivery": n.Delivery(id=ID, kind=TEST),
        "ListDeliveries": n.ListDeliveriesResponse(deliveries=[n.Delivery(id=ID, kind=TEST)]),
    }
    assert "<h1>Prueba</h1>" in client.get(f"/webhooks/{ID}/deliveries/{ID}").text
    assert ">Prueba</a>" in client.get(f"/webhooks/{ID}").text


def test_another_members_delivery_is_not_found(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetDelivery"] = errors.NotFound()
    assert client.get(f"/webhooks/{ID}/deliveries/{OTHER_ID}").status_code == 404


def test_the_curl_command_of_a_delivery_repeats_its_request_and_runs_nothing_else() -> None:
    receiver = Receiver()
    try:
        content = n.DeliveryContent(body="""{"a":"it's $(touch x) `y` "}""", attempts=[attempt()])
        line = curl(f"{receiver.url}?a=1&b=$(touch%20x)';'", content)
        assert shlex.split(line.replace("\\\n", ""))[0] == "curl"
        subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=20)
        [request] = receiver.requests
    finally:
        receiver.close()
    assert request.path == "/enlace?a=1&b=$(touch%20x)';'"
    assert request.body == content.body
    assert {name: request.headers[name] for name in ("webhook-id", "webhook-signature")} == {
        "webhook-id": ID,
        "webhook-signature": "v1,a= v1,b=",
    }


def test_a_secret_is_replaced_and_the_new_one_is_shown_once(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    hook = n.Webhook(id=ID, url="https://one.example/", enabled=True)
    expire_time = timestamp(i18n.now() + timedelta(hours=24))
    fakes.answers["GetWebhook"] = hook
    assert "Firman dos secretos" not in client.get(f"/webhooks/{ID}").text
    fakes.answers |= {
        "GetWebhook": n.Webhook(
            id=ID, url="https://one.example/", enabled=True, former_secret_expire_time=expire_time
        ),
        "RotateWebhookSecret": n.RotateWebhookSecretResponse(webhook=hook, secret="whsec_new"),
    }
    answer = send(client, f"/webhooks/{ID}", f"/webhooks/{ID}/secret", request_id="1" * 32)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (
        missing(answer.text, "whsec_new", "Firman dos secretos. El de antes termina: mañana") == []
    )
    assert fakes.last("RotateWebhookSecret") == n.RotateWebhookSecretRequest(
        id=ID, request_id="1" * 32
    )
    assert "whsec_new" not in client.get(f"/webhooks/{ID}").text
    send(client, f"/webhooks/{ID}", f"/webhooks/{ID}/secret", at_once="1")
    assert fakes.last("RotateWebhookSecret").at_once


@pytest.mark.parametrize(
    ("page", "rpc", "field", "value"),
    [
        ("/webhooks", "CreateWebhook", "url", "https://one.example/"),
        ("/keys", "CreateApiKey", "label", "Sistema de casos"),
    ],
)
def test_a_saved_form_is_empty_again_and_a_refused_form_keeps_its_value(
    page: str, rpc: str, field: str, value: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    field_value = re.compile(rf'<input[^>]* name="{field}"[^>]* value="([^"]*)"')
    assert field_value.findall(send(client, page, **{field: value}).text) == [""]
    fakes.answers[rpc] = errors.Invalid((field, "invalid"))
    assert field_value.findall(send(client, page, **{field: value}).text) == [value]


def test_a_second_replacement_of_a_secret_is_refused_with_an_explanation(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["RotateWebhookSecret"] = errors.Conflict("secret_rotating")
    answer = send(client, f"/webhooks/{ID}", f"/webhooks/{ID}/secret")
    assert (answer.status_code, "El secreto de antes todavía firma." in answer.text) == (422, True)


def test_the_list_of_keys_states_in_words_what_each_may_do_and_when_it_was_used(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    def key(label: str, days: int, **times: Any) -> m.ApiKey:
        """Returns a key that expires in `days` days."""
        return m.ApiKey(
            id=ID,
            label=label,
            organization_id=ID,
            worker_id=ID,
            scopes=[contract_pb2.SCOPE_PEOPLE_OPEN],
            expire_time=timestamp(i18n.now() + timedelta(days=days)),
            **times,
        )

    keys = [
        key("Nueva", 9),
        key("En uso", 9, last_use_time=timestamp(i18n.now() - timedelta(hours=2))),
        key("Vieja", -1),
        key("Fuera", 9, revoke_time=timestamp(i18n.now())),
    ]
    fakes.answers["ListApiKeys"] = m.ListApiKeysResponse(api_keys=keys)
    rows = re.findall(r"<tr><td.*?</tr>", client.get("/keys").text, re.DOTALL)
    for row, last_use, state in zip(
        rows,
        ("nunca", "hace 2 h", "nunca", "nunca"),
        ("Sirve", "Sirve", "Venció", "Revocada"),
        strict=True,
    ):
        assert (
            "Abrir nombres y notas, hasta donde hay consentimiento" in row,
            "people.open" in row,
            f">{last_use}</td>" in row,
            state in row,
            "/revoke" in row,
        ) == (True, False, True, True, state == "Sirve")
    assert "la persona que la creó la sigue conociendo" in client.get("/keys").text
    assert "Abrir nombres y notas" not in client.get("/keys?lang=fr").text


def test_a_key_gets_the_ticked_scopes(fakes: FakePageServices, client: FlaskClient) -> None:
    answer = send(client, "/keys", label="Caja", scopes=["people.read", "directory.read"])
    assert answer.status_code == 200
    request = fakes.last("CreateApiKey")
    assert list(request.scopes) == [
        contract_pb2.SCOPE_PEOPLE_READ,
        contract_pb2.SCOPE_DIRECTORY_READ,
    ]
    assert not request.HasField("expire_time"), "without a date, the key expires in a year"
    fields: dict[str, Any] = {"label": "Caja", "scopes": ["people.read"]}
    send(client, "/keys", **fields, expire_time="2027-03-01")
    assert fakes.last("CreateApiKey").expire_time.ToJsonString() == "2027-03-01T06:00:00Z", (
        "the key expires when that day begins in the reader's time zone"
    )
    fakes.answers["CreateApiKey"] = errors.Invalid(("expire_time", "out_of_range"))
    too_late = send(client, "/keys", **fields, expire_time="2036-03-01").text
    assert "elija un día después de hoy, a dos años como máximo" in too_late
    fakes.answers["CreateApiKey"] = errors.Conflict("too_many_keys")
    second_answer = send(client, "/keys", **fields)
    assert (second_answer.status_code, "Hay dos claves activas" in second_answer.text) == (
        422,
        True,
    )
    assert 'value="people.read" checked' in second_answer.text
