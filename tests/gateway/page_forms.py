"""The forms of a page, filled in as a person would, and fake services that lead to more forms."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import Message

from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2 as pl
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.shell.kept import SECRETS
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import FakePageServices, signed_in

WORDS = 'vuelve a las seis, «con» su tía & 1 <b>"más"</b>'
OTHER_ID = "e" * 32
VALUES_BY_TYPE = {
    "number": "7",
    "date": "2027-01-05",
    "datetime-local": "2027-01-05T10:30",
    "time": "10:30",
    "email": "a@b.demo",
    "url": "https://partner.example/x",
}
Element = tuple[str, dict[str, str]]
"""A tag with its attributes."""


@dataclass
class Form:
    """A form of a page.

    `path` is its target without query and anchor; `sent` are the fields that a browser would send;
    `typed` and `choices` are the fields that a person types or chooses.
    """

    attributes: dict[str, str]
    path: str
    kind: int = 0
    elements: list[Element] = field(default_factory=list)
    sent: dict[str, list[str]] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)

    def filled(self) -> dict[str, Any]:
        """Returns the fields as sent by a person who fills in every field.

        She chooses the last option of every choice.
        """
        chosen = {
            name: values[-1]
            for name, values in self.choices.items()
            if values[-1] not in self.sent.get(name, [])
        }
        return self.sent | chosen | self.typed


class Page(HTMLParser):
    """The elements and the forms of a page; fields outside a form may name it by its id."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._path, self._select = path, ""
        self._area: tuple[Form, str] | None = None
        self.feed(text)
        self.close()
        for form in self.forms:
            for tag, attributes in self.elements:
                if attributes.get("form") and attributes["form"] == form.attributes.get("id"):
                    self._take(form, tag, attributes)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "form":
            target = unquote(re.split("[?#]", attributes.get("action", ""))[0])
            self._form = Form(attributes, target or self._path)
            self.forms.append(self._form)
        elif self._form and not attributes.get("form"):
            self._take(self._form, tag, attributes)

    def _take(self, form: Form, tag: str, attributes: dict[str, str]) -> None:
        name, kind = attributes.get("name", ""), attributes.get("type", "text")
        form.elements.append((tag, attributes))
        if tag == "select":
            self._select = name
        elif tag == "option":
            form.choices.setdefault(self._select, []).append(attributes.get("value", ""))
            if "selected" in attributes or self._select not in form.sent:
                form.sent[self._select] = [attributes.get("value", "")]
        elif tag == "textarea":
            self._area = (form, name)
            form.sent[name] = [""]
            form.typed[name] = WORDS
        elif tag == "input" and kind in ("radio", "checkbox"):
            form.choices.setdefault(name, []).append(attributes.get("value", "on"))
            if "checked" in attributes:
                form.sent.setdefault(name, []).append(attributes.get("value", "on"))
        elif tag == "input" and name and kind not in ("submit", "file"):
            form.sent.setdefault(name, []).append(attributes.get("value", ""))
            if kind == "password" or name in SECRETS:
                form.secrets.append(name)
            elif kind != "hidden":
                form.typed[name] = VALUES_BY_TYPE.get(kind, WORDS)

    def handle_data(self, data: str) -> None:
        if self._area:
            form, name = self._area
            form.sent[name] = [(form.sent[name][0] + data).removeprefix("\n")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = None
        elif tag == "form":
            self._form = None


def posted_forms(page: str, path: str) -> list[Form]:
    """Returns the forms of the page at `path` that a browser posts."""
    return [form for form in Page(page, path).forms if form.attributes.get("method") == "post"]


def sent_fields(page: str) -> dict[str, str]:
    """Returns the fields that a browser would send with the forms in the main part of a page."""
    main = page[page.index('<main id="main"') : page.index("</main>")]
    return {name: values[-1] for form in Page(main).forms for name, values in form.sent.items()}


class OpenServices(FakePageServices):
    """Services whose objects are all open: nothing has ended, and no flag is set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for rpc, answer in self.answers.items():
            if isinstance(answer, Message) and rpc not in ("IssueToken", "SignIn"):
                self.answers[rpc] = open_messages(answer)


def open_messages(message: Message) -> Message:
    """Clears the flags and times of a message and of the messages in it, and returns it."""
    for part, value in message.ListFields():
        if part.cpp_type == part.CPPTYPE_BOOL or (
            part.message_type and part.message_type.full_name == "google.protobuf.Timestamp"
        ):
            message.ClearField(part.name)
        elif part.message_type and not part.message_type.GetOptions().map_entry:
            for inner in value if part.is_repeated else [value]:
                open_messages(inner)
    return message


class ReceiverServices(FakePageServices):
    """Services whose objects were sent to the reader's organisation by others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        referral = r.Referral(
            id=ID,
            etag="v1",
            state=r.STATE_ACCEPTED,
            side=r.SIDE_RECEIVER,
            live=True,
            person_id=ID,
            receipt_id=ID,
            service_id=ID,
        )
        enquiry = e.Enquiry(
            id=ID, etag="v1", side=r.SIDE_RECEIVER, turn=r.TURN_RECEIVER, state=e.ENQUIRY_STATE_OPEN
        )
        enquiry.offers.add(service_id=ID, holds_content=True)
        plan = pl.Plan(id=ID, etag="v1", person_id=ID)
        plan.pathway.steps.add(key=ID, need_code="HOU.EMG")
        plan.steps.add(key=ID, state=pl.PLAN_STEP_STATE_OPEN)
        self.answers |= {
            "GetReferral": referral,
            "ListReferralEvents": r.ListReferralEventsResponse(),
            "GetReceipt": p.Receipt(
                id=ID,
                live=True,
                reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
                field_groups=[p.FIELD_GROUP_IDENTITY],
            ),
            "ListEmergencies": em.ListEmergenciesResponse(),
            "IssueToken": signed_in(
                contract_pb2.ROLE_WORKER, contract_pb2.ROLE_OPERATOR, contract_pb2.ROLE_MANAGER
            ),
            "GetSafeContact": p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE),
            "GetEmergency": em.Emergency(
                id=ID, organization_id=OTHER_ID, file_organization_id=ID, referral_id=ID
            ),
            "GetEnquiry": enquiry,
            "GetPlan": plan,
            # these roles open the sealed data of a file, unlike an account with every role
            "GetPerson": p.Person(
                id=ID,
                etag="v1",
                organization_id=ID,
                safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE),
            ),
        }
