"""An applicant for membership gets a link by e-mail, and nobody else is notified."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from chassis.ids import new_id
from chassis.languages import LANGUAGES
from chassis.tokens import SYSTEM
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2, letters_pb2
from services.notifications.domain.texts import APPLICATION
from services.notifications.usecases.sending import sweep
from services.notifications.words import WORDS
from tests.notifications.conftest import COALITION, PUBLIC_URL, Service
from tests.notifications.test_invitations import hear
from tests.notifications.test_mail import Post, emails, post, smtp

TOKEN = "kW3-dZ1b_6wYpQ2rT8vXcN0mLsA9fHgJ4uEiOyRtKxB"
EMAIL = "parroquia@ejemplo.example"
__all__ = ["post"]


def fact(
    service: Service, verb: str = "asked", *, language: str = "es", email: str = EMAIL
) -> Fact:
    """Returns a fact of partners, with the e-mail as partners seals it."""
    id = new_id()
    letter = letters_pb2.ApplicationLetter(email=email, token=TOKEN, language=language)
    sealed = service.letter_key.seal_bytes(letter.SerializeToString(), f"applications/{id}/letter")
    body = facts_pb2.ApplicationFact(application_id=id, sealed_letter=sealed)
    body.expire_time.FromDatetime(service.clock.now() + timedelta(days=3))
    return Fact(
        id, 1, f"enlace.application.{verb}.v1", body.SerializeToString(), service.clock.now()
    )


def test_the_link_goes_to_the_applicants_mailbox_and_nobody_is_notified(
    service: Service, post: Post
) -> None:
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    hear(service, fact(service))
    assert service.send_mails(smtp(service, post)) == 1
    assert post.got[0].rcpt_tos == [EMAIL]
    assert f"{PUBLIC_URL}/join/confirm?lang=es#{TOKEN}" in post.text().replace("=\r\n", "").replace(
        "=3D", "="
    )
    assert service.as_(COALITION, "COORDINATOR").ListMessages().messages == []
    for row in service.rows("SELECT * FROM messages"):
        assert TOKEN not in str(row)
        assert EMAIL not in str(row)


def test_an_unreachable_applicant_causes_no_notice_to_the_coordinators(
    service: Service, post: Post
) -> None:
    post.rcpt.append("550 no such mailbox")
    hear(service, fact(service))
    service.send_mails(smtp(service, post))
    assert [mail["status"] for mail in emails(service)] == ["DEAD"]
    assert service.as_(COALITION, "COORDINATOR").ListMessages().messages == []


def test_an_email_is_stored_no_longer_than_its_link_is_valid(service: Service) -> None:
    hear(service, fact(service))
    service.advance(days=3)
    with service.database.transaction(SYSTEM) as tx:
        sweep(tx, service.clock.now())
    assert service.rows("SELECT * FROM letters") == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_email_holds_nothing_that_was_entered_in_the_form(language: str) -> None:
    assert re.findall(r"{(\w+)}", WORDS.text(language, APPLICATION.body)) == ["link", "code"]
    assert WORDS.text(language, APPLICATION.subject)


def test_a_fact_of_an_unknown_kind_about_an_application_is_held(service: Service) -> None:
    with pytest.raises(NewerKind):
        hear(service, fact(service, "withdrawn"))
