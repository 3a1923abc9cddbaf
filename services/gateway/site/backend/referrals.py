"""Calls about persons' files and about referrals: one by id, many by a filter, and drafts.

A draft is completed on several pages with one question each.
"""

from typing import Any

from flask import abort, redirect, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from werkzeug.wrappers import Response

from chassis.errors import Conflict
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import lists, names
from services.gateway.site.language import words
from services.gateway.site.parts import due, forms


def fetch(identifier: str) -> r.Referral:
    """Returns the referral as it is now."""
    return clients().referrals.GetReferral(r.GetReferralRequest(id=identifier))


def fetch_draft(identifier: str, *, or_allowing: str = "") -> r.Referral:
    """Returns a draft, or a referral that allows the verb `or_allowing`.

    For any other referral, redirects to the referral's page or, if a form was sent, raises Conflict
    not_a_draft. A browser's Back button can lead to a draft's page even after it was sent.
    """
    draft = fetch(identifier)
    if draft.state != r.STATE_DRAFT and or_allowing not in draft.allowed_verbs:
        if request.method == "POST":
            raise Conflict("not_a_draft")
        abort(redirect(url_for("referral.show", identifier=identifier)))
    return draft


def file_of(person_id: str) -> p.Person:
    """Returns the file of a person, without her identity."""
    return clients().people.GetPerson(p.GetPersonRequest(id=person_id, outline_only=True))


def matching(filter_: r.ReferralFilter) -> lists.Rows[r.Referral]:
    """Returns all referrals that match a filter, the nearest deadline first."""
    return lists.all_of(r.ListReferralsRequest(filter=filter_))


def turn_of(box: r.Box.ValueType) -> r.ReferralFilter:
    """Returns the filter for referrals that wait for this organisation.

    No referral waits for the network as a whole, so the filter for the network's box matches all
    live referrals.
    """
    is_own = box != r.BOX_NETWORK
    return r.ReferralFilter(box=box, live=not is_own, waiting_for_me=is_own)


def update_draft(draft: r.Referral, etag: str, **fields: Any) -> r.Referral:
    """Writes some fields of the draft, and returns the changed draft."""
    return clients().referrals.UpdateReferral(
        r.UpdateReferralRequest(
            referral=r.Referral(id=draft.id, etag=etag or draft.etag, **fields),
            update_mask=FieldMask(paths=list(fields)),
            request_id=forms.text("request_id"),
        )
    )


def redirect_to_next_page(draft: r.Referral, after: str = "") -> Response:
    """Redirects to the first page on which the draft still lacks an answer, or to the last check.

    Redirects to the referral's own page if it is no longer a draft. `after` names the page that was
    just answered. After a change of the need, or if the chosen service has just been named as
    unsafe, a service must be chosen again. After the choice of a service, the consent must be given
    again.
    """
    if draft.state != r.STATE_DRAFT:
        page = "referral.show"
    elif not draft.need_code:
        page = "referral_new.need"
    elif not draft.urgency:
        page = "referral_new.urgency"
    elif not draft.unsafe_code:
        page = "referral_new.unsafe"
    elif after == "need" or not draft.service_id or (after == "unsafe" and is_unsafe(draft)):
        page = "referral_new.services"
    elif not file_of(draft.person_id).safe_contact.channel_code:
        page = "referral_new.contact"
    else:
        has_consent = draft.receipt_id and after != "services"
        page = "referral_new.check" if has_consent else "referral_new.consent"
    return redirect(
        url_for(page, identifier=draft.id),
        303 if request.method == "POST" else 302,
    )


def is_unsafe(draft: r.Referral) -> bool:
    """Returns whether the person named the chosen provider, or its department, as unsafe.

    If so, the worker is asked for another service now, because the referrals service would later
    refuse to send the referral.
    """
    if draft.receiver_organization_id in draft.unsafe_organization_ids:
        return True
    if not draft.unsafe_departments:
        return False
    service = names.names(services=[draft.service_id]).services.get(draft.service_id)
    return service is not None and service.department in draft.unsafe_departments


def urgency_hints(*, of_enquiry: bool = False) -> dict[str, str]:
    """Returns, for each urgency, when it applies and how soon the other side must answer."""
    times = due.answer_times(send(r.GetDeadlinePolicyRequest()), of_enquiry=of_enquiry)
    return {
        code: f"{words.word('urgency_hint', code)} {times.get(code, '')}"
        for code, _word in words.options("urgency")
    }
