"""Nothing is lost when a call is cut off. Tested in a real browser.

A contact is saved after each answer, and gets its reference with the first one.
"""

import copy
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import SECRET, FakePageServices, pages, served, signed_in
from tests.gateway.test_kept_forms import first_session_ended
from tests.gateway.test_pages_in_browser import open_pages
from tests.parts.local_stack import until

ID = "ab" * 16


class Line(FakePageServices):
    """Fake services that store one contact as the page last saved it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.version = 0
        self.contact = c.Contact()
        self.answers |= {
            "CreateContact": lambda request: c.CreateContactResponse(
                contact=self.save(request.contact), reference="W43P-VWJF", pin="4821"
            ),
            "UpdateContact": self.update,
            "GetContact": lambda _request: self.contact,
            "ListAdviceCards": self.cards,
        }

    def save(self, contact: c.Contact) -> c.Contact:
        self.version += 1
        self.contact = c.Contact()
        self.contact.CopyFrom(contact)
        self.contact.id = ID
        self.contact.etag = f"v{self.version}"
        self.contact.urgency = r.URGENCY_EMERGENCY
        self.contact.update_time.GetCurrentTime()
        return self.contact

    def cards(self, _request: pb.ListAdviceCardsRequest) -> pb.ListAdviceCardsResponse:
        text = pb.AdviceText(title="Qué decir", lines=["Escuche."])
        still_held = pb.AdviceCard(
            id="still_held", version=1, es=text, open=self.contact.triage.still_held == c.ANSWER_YES
        )
        return pb.ListAdviceCardsResponse(
            cards=[pb.AdviceCard(id="danger_now", version=1, es=text), still_held]
        )

    def update(self, request: c.UpdateContactRequest) -> c.Contact:
        if request.contact.etag != self.contact.etag:
            raise errors.Stale
        return self.save(request.contact)


def first_answers(answer: Any) -> Callable[[Any], Any]:
    """Returns a function that gives a repeated request the first answer.

    Another request with the same request id is refused.
    """
    known: dict[str, tuple[Any, Any]] = {}

    def answer_once(request: Any) -> Any:
        if request.request_id not in known:
            known[request.request_id] = (copy.deepcopy(request), copy.deepcopy(answer(request)))
        first_request, first_answer = known[request.request_id]
        if request != first_request:
            raise errors.Reused
        return first_answer

    return answer_once


def lose_answers(page: Page) -> None:
    """Lets requests that save a contact arrive, but not their answers."""

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        route.fetch(max_redirects=0)
        route.abort()

    page.route("**/line/**", lose)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def page(browser: Browser, line: Line) -> Iterator[Page]:
    with served(pages(line)) as site:
        context = browser.new_context(locale="es-NI")
        page = open_pages(context, site, as_user=True)
        page.goto(f"{site}/line/new")
        yield page
        context.close()


def answer(page: Page, question: str, value: str) -> None:
    page.locator(f"[data-question={question}]").click()
    page.locator(f"#{question} label", has=page.locator(f"input[value='{value}']")).click()


def begin(page: Page, value: str) -> None:
    """Answers the first question; waits until the contact is saved and the next question is shown.

    The next question takes the focus and scrolls the page, so that a click at that moment could
    miss its button.
    """
    answer(page, "danger_now", value)
    expect(page.locator("#saved")).to_contain_text("Guardado")
    expect(page.locator("#danger_now")).to_be_hidden()


def write_note(page: Page, text: str) -> None:
    page.locator("[name=note]").fill(text)


def triage(line: Line, *questions: str) -> list[c.Answer.ValueType]:
    """Returns the stored answers to these questions."""
    return [getattr(line.contact.triage, question) for question in questions]


def test_the_first_answer_creates_the_contact_and_shows_its_reference(
    page: Page, line: Line
) -> None:
    begin(page, "yes")
    expect(page.locator("#readout")).to_contain_text("W43P-VWJF")
    assert line.contact.triage.danger_now == c.ANSWER_YES
    assert page.url.endswith(f"/line/{ID}")
    assert page.locator("[name=pin]").count() == 0, (
        "the contact exists, so no PIN can be typed any more"
    )
    expect(page.locator("p.save button")).to_have_text("Guardar")


def test_each_further_answer_and_typed_text_is_saved_on_top_of_the_previous_version(
    page: Page, line: Line
) -> None:
    answer(page, "danger_now", "yes")
    expect(page.locator("#readout")).to_contain_text("4821")
    answer(page, "still_held", "no")
    write_note(page, "llama desde la terminal")
    expect(page.locator("form[data-autosave] [name=etag]")).to_have_value("v3", timeout=15_000)
    assert triage(line, "danger_now", "still_held") == [c.ANSWER_YES, c.ANSWER_NO]
    assert line.contact.note == "llama desde la terminal"
    # the PIN, which is shown once, stays visible during the call
    expect(page.locator("#readout")).to_contain_text("W43P-VWJF")
    assert len(line.requests("CreateContact")) == 1


def test_answers_are_saved_although_the_code_of_a_poster_is_wrong(page: Page, line: Line) -> None:
    def update(request: c.UpdateContactRequest) -> c.Contact:
        if request.contact.placement_code:
            raise errors.Invalid(("contact.placement_code", "malformed"))
        return line.update(request)

    line.answers["UpdateContact"] = update
    answer(page, "danger_now", "yes")
    expect(page.locator("#readout")).to_contain_text("4821")
    page.locator("[data-question=about]").click()
    page.locator("[name=placement_code]").fill("ZZZZ")
    expect(page.locator("#saved.bad")).to_contain_text("ese código no existe", timeout=15_000)
    answer(page, "still_held", "no")
    until(lambda: line.contact.triage.still_held == c.ANSWER_NO)
    expect(page.locator("#saved.bad")).to_contain_text("Guardado")
    expect(page.locator("[name=placement_code]")).to_have_value("ZZZZ")


def test_quick_answers_create_one_contact_and_no_answer_is_lost(page: Page, line: Line) -> None:
    questions = ("danger_now", "still_held", "wants_out", "child_unsafe")
    for question in questions:
        answer(page, question, "no")
    expect(page.locator("#readout")).to_contain_text("W43P-VWJF")
    page.wait_for_load_state("networkidle")
    assert len(line.requests("CreateContact")) == 1
    assert triage(line, *questions) == [c.ANSWER_NO] * 4


def test_the_page_reports_an_ended_session_and_the_text_comes_back_after_signing_in(
    page: Page, line: Line
) -> None:
    begin(page, "yes")
    line.answers["IssueToken"] = first_session_ended
    # the gateway caches a session for one second
    page.wait_for_timeout(1300)
    write_note(page, "vuelvo a las seis")
    expect(page.locator("#saved")).to_contain_text("Su sesión terminó")
    page.click("p.save button")
    expect(page.locator("main")).to_contain_text("no se perdió")
    line.answers["SignIn"] = m.SignInResponse(
        session_secret="fresh", worker=signed_in(contract_pb2.ROLE_OPERATOR).worker
    )
    page.fill("#email", "rosa@puentes.demo")
    page.fill("#password", SECRET)
    page.click("main button")
    page.get_by_role("button", name="Guardarlo ahora").click()
    page.wait_for_url(f"**/line/{ID}**")
    assert line.contact.note == "vuelvo a las seis"
    assert len(line.requests("CreateContact")) == 1


def test_the_page_reports_a_lost_connection_and_saves_with_the_next_answer(
    page: Page, line: Line
) -> None:
    page.context.set_offline(True)
    answer(page, "danger_now", "yes")
    expect(page.locator("#saved")).to_contain_text("no hay conexión")
    page.context.set_offline(False)
    answer(page, "still_held", "yes")
    expect(page.locator("#saved")).to_contain_text("Guardado")
    assert triage(line, "danger_now", "still_held") == [c.ANSWER_YES, c.ANSWER_YES]


def test_a_save_whose_answer_is_lost_makes_no_second_contact_and_loses_nothing(
    page: Page, line: Line
) -> None:
    line.answers |= {
        "CreateContact": first_answers(
            lambda request: c.CreateContactResponse(
                contact=line.save(request.contact), reference="W43P-VWJF", pin="4821"
            )
        ),
        "UpdateContact": first_answers(line.update),
    }
    lose_answers(page)
    answer(page, "danger_now", "yes")
    expect(page.locator("#saved")).to_contain_text("no hay conexión")
    page.unroute("**/line/**")
    answer(page, "still_held", "no")
    expect(page.locator("#saved")).to_contain_text("Guardado")
    expect(page.locator("#readout")).to_contain_text("W43P-VWJF")
    assert triage(line, "danger_now", "still_held") == [c.ANSWER_YES, c.ANSWER_NO]
    lose_answers(page)
    answer(page, "child_unsafe", "no")
    expect(page.locator("#saved")).to_contain_text("no hay conexión")
    page.unroute("**/line/**")
    write_note(page, "llama desde la terminal")
    expect(page.locator("#saved")).to_contain_text("Guardado", timeout=15_000)
    assert triage(line, "child_unsafe") == [c.ANSWER_NO]
    assert line.contact.note == "llama desde la terminal"
    assert len({request.request_id for request in line.requests("CreateContact")}) == 1


def test_the_button_for_saving_loses_no_text_without_a_connection(page: Page, line: Line) -> None:
    begin(page, "yes")
    page.context.set_offline(True)
    write_note(page, "vuelvo a las seis")
    page.click("p.save button")
    expect(page.locator("#saved")).to_contain_text("no hay conexión")
    expect(page.locator("[name=note]")).to_have_value("vuelvo a las seis")
    page.context.set_offline(False)
    page.click("p.save button")
    expect(page.locator("#saved")).to_contain_text("Guardado")
    assert line.contact.note == "vuelvo a las seis"


def test_a_message_that_the_caller_adds_meanwhile_is_shown_before_the_next_save(
    page: Page, line: Line
) -> None:
    begin(page, "yes")
    line.contact.later_notes.add(note="ya me encontró")
    line.contact.unheard = True
    line.save(line.contact)
    answer(page, "still_held", "no")
    expect(page.locator("#later")).to_contain_text("ya me encontró")
    expect(page.locator("#later")).to_contain_text("nuevo")


def test_a_call_that_a_colleague_handed_over_is_not_opened_again_by_the_next_answer(
    page: Page, line: Line
) -> None:
    begin(page, "yes")
    line.contact.outcome_code = c.CONTACT_OUTCOME_HANDED_OVER
    line.contact.language = "mam"
    line.save(line.contact)
    answer(page, "still_held", "no")
    expect(page.locator("[name=outcome_code]")).to_have_value("handed_over")
    answer(page, "child_unsafe", "no")
    expect(page.locator("#saved")).to_contain_text("Guardado:")
    page.wait_for_load_state("networkidle")
    assert (line.contact.outcome_code, line.contact.language) == (
        c.CONTACT_OUTCOME_HANDED_OVER,
        "mam",
    )


def test_a_colleagues_change_between_a_save_and_its_answer_is_kept(page: Page, line: Line) -> None:
    begin(page, "yes")

    def update_and_change(request: c.UpdateContactRequest) -> c.Contact:
        saved = line.update(request)
        line.answers["UpdateContact"] = line.update
        line.contact.triage.child_unsafe = c.ANSWER_YES
        line.contact.need_code = "HOU.EMG"
        line.save(line.contact)
        return saved

    line.answers["UpdateContact"] = update_and_change
    answer(page, "still_held", "no")
    expect(page.locator("form[data-autosave] [name=etag]")).to_have_value("v3")
    answer(page, "medical_emergency", "no")
    expect(page.locator("form[data-autosave] [name=etag]")).to_have_value("v4")
    assert triage(line, "danger_now", "still_held", "child_unsafe", "medical_emergency") == [
        c.ANSWER_YES,
        c.ANSWER_NO,
        c.ANSWER_YES,
        c.ANSWER_NO,
    ]
    assert line.contact.need_code == "HOU.EMG"


def test_an_answer_opens_its_card_and_closes_no_other_card(page: Page, line: Line) -> None:
    danger_now, still_held = (
        page.locator(f'[data-card="{card}"]') for card in ("danger_now", "still_held")
    )
    expect(danger_now).to_have_attribute("open", "")
    assert still_held.get_attribute("open") is None
    answer(page, "still_held", "yes")
    expect(still_held).to_have_attribute("open", "")
    expect(danger_now).to_have_attribute("open", "")
    assert triage(line, "still_held") == [c.ANSWER_YES]


def test_a_link_to_the_next_page_waits_until_the_answers_are_saved(page: Page, line: Line) -> None:
    begin(page, "no")
    update_begun, update_may_end = threading.Event(), threading.Event()

    def wait_and_update(request: c.UpdateContactRequest) -> c.Contact:
        update_begun.set()
        update_may_end.wait(30)
        return line.update(request)

    line.answers["UpdateContact"] = wait_and_update
    page.locator("[data-question=about]").click()
    page.select_option("[name=need_code]", "HOU.EMG")
    page.get_by_role("link", name="Empezar una remisión").click()
    assert update_begun.wait(30)
    assert page.url.endswith(f"/line/{ID}"), "the contact is not read before it is saved"
    update_may_end.set()
    page.wait_for_url("**/referrals/new?**")
    assert line.contact.need_code == "HOU.EMG"


def test_a_link_is_followed_even_if_a_note_is_saved_while_the_button_of_the_mouse_is_down(
    page: Page, line: Line
) -> None:
    begin(page, "no")
    write_note(page, "llama desde la terminal")
    page.get_by_role("link", name="Empezar una remisión").hover()
    with page.expect_response(f"**/line/{ID}"):
        page.mouse.down()
    expect(page.locator("#saved")).to_contain_text("Guardado")
    page.mouse.up()
    page.wait_for_url("**/referrals/new?**")
    assert line.contact.note == "llama desde la terminal"


def test_a_link_is_followed_only_at_the_second_click_when_nothing_could_be_saved(
    page: Page, line: Line
) -> None:
    begin(page, "no")
    line.answers["UpdateContact"] = errors.Stale()
    # Only the event `change` sends a note at once. After `input`, it could be sent a second time
    # while the test clicks; then both clicks would wait for the same answer.
    page.locator("[name=note]").evaluate(
        "note => { note.value = 'llama desde la terminal';"
        " note.dispatchEvent(new Event('change', { bubbles: true })); }"
    )
    expect(page.locator("#saved")).to_have_class(re.compile("bad"))
    page.get_by_role("link", name="Empezar una remisión").click()
    assert page.url.endswith(f"/line/{ID}")
    page.get_by_role("link", name="Empezar una remisión").click()
    page.wait_for_url("**/referrals/new?**")


def test_text_typed_a_moment_before_the_page_is_left_is_saved(page: Page, line: Line) -> None:
    begin(page, "no")
    save_began = threading.Event()

    def update_and_signal(request: c.UpdateContactRequest) -> c.Contact:
        save_began.set()
        return line.update(request)

    line.answers["UpdateContact"] = update_and_signal
    write_note(page, "llama desde la terminal")
    # as with the browser's back key: no field loses the focus before the page is left
    page.evaluate("location.assign('/today')")
    assert save_began.wait(30)
    assert line.contact.note == "llama desde la terminal"


def test_the_no_key_stores_the_answer_that_means_no_danger_even_if_the_question_is_inverted(
    page: Page, line: Line
) -> None:
    question = page.locator("[data-question=safe_place_tonight]")
    question.click()
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_contain_text("Guardado")
    assert triage(line, "safe_place_tonight") == [c.ANSWER_YES]
    expect(question.locator("b")).to_have_text("No")
    question.click()
    page.keyboard.press("1")
    expect(page.locator("form[data-autosave] [name=etag]")).to_have_value("v2")
    assert triage(line, "safe_place_tonight") == [c.ANSWER_NO]


SESSION_ENDED = (
    "Su sesión terminó. Entre otra vez en otra pestaña: lo que escribió sigue aquí, y se guarda con"
    " la próxima respuesta. O pulse Guardar."
)


def test_the_page_reports_a_sign_out_in_another_tab_and_saves_after_the_next_sign_in(
    page: Page, line: Line
) -> None:
    begin(page, "yes")
    other_tab = page.context.new_page()
    other_tab.goto(page.url)
    other_tab.locator("details.account summary").click()
    other_tab.get_by_role("button", name="Cerrar la sesión").click()
    other_tab.wait_for_url(re.compile(r"/$"))
    write_note(page, "vuelvo a las seis")
    expect(page.locator("#saved")).to_have_text(SESSION_ENDED)
    expect(page.locator("[name=note]")).to_have_value("vuelvo a las seis")
    open_pages(page.context, page.url.split("/line/")[0], as_user=True).close()
    answer(page, "still_held", "no")
    expect(page.locator("#saved")).to_contain_text("Guardado:")
    until(lambda: line.contact.triage.still_held == c.ANSWER_NO)
    assert line.contact.note == "vuelvo a las seis"
    assert len(line.requests("CreateContact")) == 1


def test_no_text_of_an_unrelated_page_is_shown_as_the_reason(page: Page, line: Line) -> None:
    begin(page, "yes")
    unrelated_page = (
        '<main><p class="note soon">Es una demostración.</p><form method="post"'
        ' action="/somewhere"></form></main>'
    )
    page.route(
        "**/line/*",
        lambda route: route.fulfill(status=200, content_type="text/html", body=unrelated_page),
    )
    write_note(page, "vuelvo a las seis")
    expect(page.locator("#saved")).to_contain_text("Todavía no se guardó")
    expect(page.locator("[name=note]")).to_have_value("vuelvo a las seis")


def test_the_texts_of_two_workers_who_write_at_the_same_time_are_merged(
    page: Page, line: Line
) -> None:
    write_note(page, "llama desde la terminal")
    answer(page, "danger_now", "yes")
    # the second of two saves: the note was the first
    until(lambda: line.contact.triage.danger_now == c.ANSWER_YES)
    expect(page.locator("form[data-autosave] [name=etag]")).to_have_value(line.contact.etag)
    line.contact.note = "llama desde la terminal. Espera a su tía"
    line.contact.need_code = "HOU.EMG"
    line.contact.triage.child_unsafe = c.ANSWER_NO
    line.save(line.contact)
    write_note(page, "llama desde la terminal de buses")
    expect(page.locator("#saved")).to_contain_text("quedó junto lo suyo y lo de ella")
    both_notes = "llama desde la terminal. Espera a su tía\nllama desde la terminal de buses"
    expect(page.locator("[name=note]")).to_have_value(both_notes)
    answer(page, "still_held", "no")
    expect(page.locator("#saved")).to_contain_text("Guardado:")
    page.wait_for_load_state("networkidle")
    assert triage(line, "danger_now", "child_unsafe", "still_held") == [
        c.ANSWER_YES,
        c.ANSWER_NO,
        c.ANSWER_NO,
    ]
    assert (line.contact.need_code, line.contact.note) == ("HOU.EMG", both_notes)
