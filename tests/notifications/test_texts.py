"""Texts are complete and constant, and reveal nothing.

A reader of a mailbox learns only that there is a task.
"""

import re
from email.message import EmailMessage

import pytest

from chassis.ids import new_id
from chassis.languages import LANGUAGES, language_of
from services.notifications.channels.mail import compose
from services.notifications.domain.notices import BY_KIND, BY_VERB, NOTICES
from services.notifications.domain.notices.notice import Party
from services.notifications.domain.texts import ID_LENGTH
from services.notifications.words import mail, text
from tests.builders import NOON
from tests.parts.clocks import SettableClock

# No text outside the site may reveal what the network is about.
REVEALING_WORDS = re.compile(
    r"trata|traffick|traite|v[ií]ctim|sobrevivient|survivor|albergue|shelter|refugi|remisi|referral|orientation|person",
    re.IGNORECASE,
)

TEXTS = {
    notice.kind: {language: text(notice.kind, language) for language in LANGUAGES}
    for notice in NOTICES
}


def composed(referral_id: str, language: str = "es", delivery_id: str = "") -> EmailMessage:
    return compose(
        mail(
            delivery_id or new_id(),
            "mesa@ong.example",
            referral_id,
            language,
            "https://enlace.example",
        ),
        "enlace@coalicion.example",
        SettableClock(NOON),
    )


def test_every_notice_has_exactly_one_row_and_a_text_in_every_language() -> None:
    assert len(BY_KIND) == len(NOTICES)
    assert len(BY_VERB) == len([notice for notice in NOTICES if notice.verb])
    assert all(
        notice.parties if notice.verb else not notice.parties or notice.fact for notice in NOTICES
    )
    assert all(text.strip() == text != "" for texts in TEXTS.values() for text in texts.values())


def test_no_two_kinds_have_the_same_text() -> None:
    for language in LANGUAGES:
        values = [texts[language] for texts in TEXTS.values()]
        assert len(values) == len(set(values))


def test_a_notice_to_desk_and_coordinators_asks_neither_for_the_task_of_the_other() -> None:
    texts = [
        notice.text for notice in NOTICES if notice.fact and Party.COORDINATION in notice.parties
    ]
    assert len(texts) > 5
    assert [text for text in texts if re.search(r"revíselo|llamar a la línea|mire si", text)] == []


def test_texts_have_no_placeholders_and_no_digits() -> None:
    assert not any(
        mark in text
        for texts in TEXTS.values()
        for text in texts.values()
        for mark in "{}%<>0123456789"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_emails_of_a_language_are_equal_except_for_their_ids(language: str) -> None:
    first_ids, second_ids = (new_id(), new_id()), (new_id(), new_id())
    first_mail = composed(first_ids[0], language, first_ids[1]).as_bytes()
    second_mail = composed(second_ids[0], language, second_ids[1]).as_bytes()
    assert len(first_mail) == len(second_mail)
    for old, new in zip(first_ids, second_ids, strict=True):
        assert first_mail.count(old.encode()) == 1
        first_mail = first_mail.replace(old.encode(), new.encode())
    assert first_mail == second_mail


def test_an_email_without_a_referral_leads_to_the_inbox() -> None:
    assert "https://enlace.example/inbox\n" in composed("").get_content()


def test_no_email_reveals_what_the_network_is_about() -> None:
    for language in LANGUAGES:
        message = composed(new_id(), language)
        for part in (
            message["Subject"],
            message.get_content().replace("https://enlace.example/referrals/", ""),
        ):
            assert not REVEALING_WORDS.search(part)


def test_the_message_id_is_the_delivery_id_and_has_a_fixed_length() -> None:
    delivery = new_id()
    message = composed(new_id(), delivery_id=delivery)
    assert message["Message-ID"] == f"<{delivery}@coalicion.example>"
    assert len(delivery) == ID_LENGTH


@pytest.mark.parametrize(
    ("tag", "chosen"),
    [("es", "es"), ("es-NI", "es"), ("EN", "en"), ("fr-CA", "fr"), ("miq", "es"), ("", "es")],
)
def test_a_language_without_texts_falls_back_to_spanish(tag: str, chosen: str) -> None:
    assert language_of(tag) == chosen


def test_an_unknown_kind_is_shown_by_its_code() -> None:
    assert {text("a_kind_of_tomorrow", language) for language in LANGUAGES} == {
        "a_kind_of_tomorrow"
    }
