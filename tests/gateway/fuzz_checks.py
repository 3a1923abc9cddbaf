"""The checks that schemathesis loads into its own process (test_api_fuzz.py).

They replace schemathesis' own check that valid data are accepted, with an exception for refusals
that no document can predict.
"""

import re
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Refusals of requests that the document allows, by status and reason: there is a newer version, or
# another request had the same key.
UNPREDICTABLE_REFUSALS = {(412, "stale_etag"), (422, "request_id_reused")}
# Reasons and fields of refusals that the document cannot predict either. Such rules are: whether a
# time has come, whether two fields go together, whether an id or a page exists, whether a birthday
# is in the calendar, and how many ids may be requested in total. An urgency is never lowered; an
# adult's consent names all points, a child's consent her assent, and `other` needs an explanation.
# A referral's code is checked as it is typed. A token is requested with one of two credentials, and
# there is a third field besides these. An import has a file or names an earlier one. A line records
# contacts of its own country. An enquiry states with whom the person is not safe, unless it names
# organisations. A value outside a list that is kept elsewhere is unknown_code, for any field. A
# policy of deadlines is right or wrong as a whole. A call that is tried again needs its day and
# hour, an agreement its end, a point both its coordinates, and a narrowed field its name and tier.
# Errors in the text of a pathway are reported by line and word, because the text has a language of
# its own that no schema describes.
UNPREDICTABLE_ERRORS = re.compile(
    r"out_of_range of"
    r" (.*_time|excluded_worker_ids|line_country|(seen|expire|agreement_expire_before)_date|maximum_.*|day_code|hour_code|public|tier|valid_to|confidential)|(overlaps|member_only)"  # noqa: E501
    r" of .*|"
    r"malformed of (ids|.*_ids?|cursor|number|valid_from|valid_to|content|"
    r"(birth|seen|expire|local|agreement_expire_before)_date|api_key|phone|url|code|placement_code)|"
    r"too_long of service_ids|required of"
    r" (ids|unsafe_code|field|tier|day_code|hour_code|excluded_organization_ids|expire_date|latitude|longitude|byday)|"  # noqa: E501
    # the document of 0.1.0 allows null, which the guide refuses
    r"required of (active|confidential|enabled|public)|"
    r"(required|out_of_range|not_in_order) of"
    r" (deadlines|acknowledge|decide|first_contact|silence|close)|"
    # help is delivered only by an outcome that met a need; an age agrees with the one in the file
    r"contradicts of (delivered_need_codes|receipt_id|age_band)|"
    # an advice card needs three languages; blanks are stripped
    r"not_translated of lines|required of (lines|title)|repeated of receipt_id|"
    # the refusal does not reveal which value is right
    r"wrong of (code|password|challenge|session_secret)|too_easy of (pin|(new_)?password)|"
    r"[a-z_]+ of text|required of (urgency|explained_codes|assent_code|note|api_key|content)|"
    r"required of "  # an identity without any field
)


def is_unpredictable(status: int, problem: dict[str, Any]) -> bool:
    """Returns whether only a caller who knows the network could foresee the refusal."""
    if (status, problem.get("reason")) in UNPREDICTABLE_REFUSALS:
        return True
    errors = problem.get("errors", [])
    return (
        status == 400
        and bool(errors)
        and all(
            UNPREDICTABLE_ERRORS.fullmatch(_reason_and_field(error))
            or error["reason"] == "unknown_code"
            for error in errors
        )
    )


def _reason_and_field(error: dict[str, str]) -> str:
    place = error.get("pointer") or error.get("parameter") or ""
    place = "/text" if place.startswith("/text/") else place
    names = [part for part in place.split("/") if not part.isdecimal()]
    return f"{error['reason']} of {names[-1] if names else ''}"


@schemathesis.check
def valid_data_are_accepted(ctx: Any, response: Any, case: Any) -> bool | None:
    """Runs schemathesis' own check, except for refusals that no document can predict."""
    if response.status_code in (400, 412, 422) and is_unpredictable(
        response.status_code, response.json()
    ):
        return None
    return positive_data_acceptance(ctx, response, case)
