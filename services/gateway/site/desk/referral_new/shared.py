"""What the pages of a new referral share: the draft as it is kept, where it goes on, and what is asked about services."""

from collections.abc import Sequence
from typing import Any

from flask import redirect, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from werkzeug.wrappers import Response

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.language import words
from services.gateway.site.parts import due, forms
from services.gateway.site.shell import access, session

Answer = Response | str | tuple[str, int]
pages = access.Pages("referral_new")
# The middle of a band: a service's limits are in years, a person's age is often known only roughly.
BAND_AGES = {r.AGE_BAND_0_TO_11: 7, r.AGE_BAND_12_TO_17: 15, r.AGE_BAND_18_TO_24: 21, r.AGE_BAND_25_TO_59: 40, r.AGE_BAND_60_AND_OVER: 65}


def draft_of(identifier: str) -> r.Referral:
    """The draft as it is kept."""
    return clients().referrals.GetReferral(r.GetReferralRequest(id=identifier))


def file_of(identifier: str) -> p.Person:
    """The file of the person, without who she is."""
    return clients().people.GetPerson(p.GetPersonRequest(id=identifier, outline_only=True))


def change(draft: r.Referral, etag: str, **fields: Any) -> r.Referral:
    """Writes some fields of the draft."""
    changed = r.Referral(id=draft.id, etag=etag or draft.etag, **fields)
    return clients().referrals.UpdateReferral(
        r.UpdateReferralRequest(referral=changed, update_mask=FieldMask(paths=list(fields)), request_id=forms.request_id())
    )


def onward(draft: r.Referral, after: str = "") -> Response:
    """To the first page where something is missing. Another need asks for a service anew, another service for her consent."""
    if not draft.need_code:
        page = "need"
    elif not draft.urgency:
        page = "urgency"
    elif not draft.unsafe_code:
        page = "unsafe"
    elif after == "need" or not draft.service_id or (after == "unsafe" and draft.receiver_organization_id in draft.unsafe_organization_ids):
        page = "services"
    elif not file_of(draft.person_id).safe_contact.channel_code:
        page = "contact"
    else:
        page = "check" if draft.receipt_id and after != "services" else "consent"
    return redirect(url_for(f"referral_new.{page}", identifier=draft.id), 303 if request.method == "POST" else 302)


def matches(
    need_code: str,
    person: r.CoarsePerson,
    years: int | None = None,
    limit: int = 30,
    unsafe: Sequence[str] = (),
    excluded: Sequence[str] = (),
    support: Sequence[d.Accessibility.ValueType] = (),
) -> list[d.Match]:
    """Which services fit, with their reasons: asked with the coarse attributes of the person, never more. Her age is the middle of its band where the
    years are not known. Left out are services in departments that are not safe for her (`unsafe`), and of organisations that she named (`excluded`).
    `support`: what she needs to be able to use a place."""
    question = d.MatchServicesRequest(
        need_code=need_code,
        country=person.country or session.me().country,
        department=person.department,
        gender=d.Gender.ValueType(words.number("gender", words.snake(words.code("person_gender", person.gender_code)))),
        language=person.language,
        limit=limit,
        excluded_areas=unsafe,
        excluded_organization_ids=excluded,
        accessibility=support,
    )
    if person.HasField("dependants"):
        question.dependants = person.dependants
    age = BAND_AGES.get(person.age_band) if years is None else years
    if age is not None:
        question.age = age
    return list(clients().directory.MatchServices(question).matches)


def reason_given() -> dict[str, int]:
    """Returns the field of a draft that says why it is less urgent than her answers make it, if the form brought one."""
    number = words.number("urgency_reason", forms.text("urgency_reason_code"))
    return {"urgency_reason_code": number} if number else {}


def urgency_hints() -> dict[str, str]:
    """When it is how urgent, and how soon the other side then answers."""
    answers = due.answers(clients().referrals.GetDeadlinePolicy(r.GetDeadlinePolicyRequest()))
    return {code: f"{words.word('urgency_hint', code)} {answers.get(code, '')}" for code, _word in words.options("urgency")}
