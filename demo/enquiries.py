"""The line's enquiry of this evening to five services, still open.

One service may help, two cannot, and two have not answered yet.
"""

from datetime import datetime, timedelta

from demo.network import Network, id_of
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.deadline import Calendar, Urgency
from services.referrals.network.domain.service import Service
from services.referrals.referrals.domain.enquiry import MAYBE, NO, Content, Enquiry

ASKED_SERVICES = (
    ("luna-nueva", "camas"),
    ("casa-amanecer", "camas"),
    ("hogar-izote", "camas"),
    ("casa-nahual", "camas"),
    ("pastoral-norte", "acogida"),
)
ANSWERS = (
    (timedelta(minutes=31), 3, NO, "out_of_area"),
    (timedelta(minutes=22), 4, NO, "no_capacity"),
    (timedelta(minutes=9), 1, MAYBE, ""),
)
"""Rows: time since the answer, index in ASKED_SERVICES, answer, reason for a refusal."""


def enquiry(network: Network, calendar: Calendar, now: datetime) -> Enquiry:
    """Returns the enquiry, for a woman with a child; she is safe tonight, but cannot stay."""
    line = "llama-y-vive-ni"
    offers = [network.offers[key] for key in ASKED_SERVICES]
    services = [Service(offer.id, network.members[offer.organization].id, None) for offer in offers]
    content = Content(
        "HOU.EMG", Urgency.URGENT, "25-59", "Feminine", 1, ("es",), country="NI", department="NI-LE"
    )
    asker = network.members[line].id, network.acting_worker_id(line)
    new_enquiry = Enquiry.open(
        id_of("enquiry", "evening"),
        asker,
        content,
        services,
        now - timedelta(minutes=40),
        calendar,
        unsafe=Unsafe("nothing"),
    )
    for ago, index, answer, reason in ANSWERS:
        service = services[index]
        new_enquiry.answer(service.id, service.organization_id, answer, reason, now - ago)
    return new_enquiry
