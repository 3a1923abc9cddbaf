"""The people of the journeys, each with a browser of their own."""

from __future__ import annotations

import re
from typing import TypeVar

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys import typed
from tests.journeys.typed import marked
from tests.parts.local_stack import LocalStack

SomeActor = TypeVar("SomeActor", bound="Actor")


class Actor:
    """A person with a browser of her own."""

    def __init__(self, browser: Browser, stack: LocalStack, *, scripts: bool = False) -> None:
        self.context: BrowserContext = browser.new_context(
            locale="es-NI", viewport={"width": 390, "height": 844}, java_script_enabled=scripts
        )
        self.context.set_default_timeout(60_000)
        typed.record_addresses(self.context)
        self.page: Page = self.context.new_page()
        self.main = self.page.get_by_role("main")
        self._stack = stack

    def goes_to(self, path: str) -> None:
        self.page.goto(self._stack.gateway + path)

    def signs_in(self, email: str) -> None:
        self.types_password(email, self._stack.account(email)["password"])
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()

    def types_password(self, email: str, password: str) -> None:
        self.goes_to("/sign-in")
        self.page.fill("#email", email)
        self.page.fill("#password", password)
        self.presses("^Entrar$")

    def unfolds(self, words: str) -> None:
        """Opens the first folded part whose title contains these words."""
        self.main.locator("summary", has_text=words).first.click()

    def where(self) -> str:
        """Returns the path of the page."""
        return re.sub(r"^https?://[^/]+", "", self.page.url).split("?")[0]

    def says_how_she_arrives(self) -> None:
        """Fills in the arrival, for a receiver who may not contact the person."""
        for name, value in (
            ("expected", "hoy a las siete"),
            ("way", "en bus, a la terminal"),
            ("company", "con una promotora"),
        ):
            self.page.fill(f"[name={name}]", marked(value))

    def presses(self, words: str) -> None:
        """Presses a button, or a link that looks like one."""
        pattern = re.compile(words)
        button = self.main.get_by_role("button", name=pattern)
        link = self.main.get_by_role("link", name=pattern)
        # the page may still be loading: a missing button does not mean a link
        button.or_(link).first.wait_for()
        (button if button.count() else link).first.click()

    def chooses(self, name: str, value: str) -> None:
        """Chooses a radio button or ticks a check box."""
        self.page.check(f"main input[name={name}][value='{value}']")

    def sees(self, words: str) -> None:
        expect(self.main).to_contain_text(words)
        typed.record_title(self.page)

    def sees_no(self, words: str) -> None:
        expect(self.main).not_to_contain_text(words)

    def finds_it(self, state: str) -> None:
        """Checks that the page shows the referral in this state."""
        expect(self.page.locator(".steps [aria-current]")).to_contain_text(state)

    def leaves(self) -> None:
        self.context.close()


class Operator(Actor):
    """An operator, who answers the line."""

    def takes_a_contact_without_a_name(self) -> tuple[str, str]:
        """Records a contact; returns the reference and the PIN that the operator reads out."""
        self.goes_to("/line/new")
        self.chooses("danger_now", "no")
        self.chooses("safe_place_tonight", "no")
        self.chooses("exploiters_looking", "did_not_say")
        self.page.select_option("[name=speaker_code]", "person")
        self.page.select_option("[name=need_code]", "HOU.EMG")
        self.presses("Guardar y dar referencia")
        self.sees("Emergencia")
        readout = self.page.locator(".readout b").all_inner_texts()
        typed.record_reference(readout[0])
        return readout[0], readout[1]

    def searches_for(self, reference: str, pin: str) -> None:
        """Looks up a request for a caller, with the reference and PIN that she gives."""
        self.goes_to("/search")
        self.page.fill("main #q", reference)
        self.page.press("main #q", "Enter")
        self.page.fill("#pin", pin)
        self.page.press("#pin", "Enter")

    def refers_the_caller_to(self, shelter_service: str) -> str:
        """Answers all questions of a new referral, and sends it; returns the path of its page."""
        self.drafts_a_referral_to(shelter_service)
        self.records_her_consent("identity", "contact", "notes")
        self.sees("Revise y envíe")
        self.page.fill("[name=note]", marked("Llega en taxi hacia la medianoche."))
        self.says_how_she_arrives()
        self.presses("Enviar la remisión")
        self.finds_it("Enviada")
        return self.where()

    def records_her_consent(self, *groups: str) -> None:
        """Records the person's consent on its three pages, with a yes to these field groups only.

        Checks that nothing is ticked on a new page.
        """
        self.finds_nothing_ticked()
        self.presses("Ya le expliqué los siete puntos")
        self.sees("Hay un problema")
        for box in self.page.locator("input[name=explained_codes]").all():
            box.check()
        self.presses("Ya le expliqué los siete puntos")
        self.finds_nothing_ticked()
        for group in self.page.locator("main input[value=yes]").all():
            name = group.get_attribute("name") or ""
            self.chooses(name, "yes" if name.removeprefix("answer_") in groups else "no")
        self.presses("Guardar sus respuestas y seguir")
        self.finds_nothing_ticked()
        self.chooses("giver_code", "person")
        self.chooses("manner_code", "spoken")
        self.page.check("main input[name=in_private]")
        self.presses("Guardar el consentimiento y seguir")

    def finds_nothing_ticked(self) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        assert self.page.locator("main input:checked").count() == 0

    def drafts_a_referral_to(self, shelter_service: str) -> None:
        """Drafts a referral up to the question of the person's consent."""
        self.presses("Empezar una remisión")
        self.sees("Pregunta 3 de 6")  # the contact already has the need and the urgency
        self.page.fill("[name=age]", "191")
        self.presses("^Seguir$")
        self.sees("escriba los años con cifras")
        self.page.fill("[name=age]", "19")
        self.page.select_option("[name=gender_code]", "Feminine")
        self.page.select_option("[name=department]", "NI-CI")
        self.presses("^Seguir$")
        self.unfolds("Quién es")
        self.page.fill("[name=given_name]", marked("Yolanda"))
        self.chooses("channel_code", "none")
        self.presses("^Seguir$")
        self.sees("¿Con quién o dónde no está a salvo?")
        self.presses("^Seguir$")
        self.sees("Hay un problema")
        self.presses("no nombró a nadie: seguir")
        self.sees("18 a 24 años, Chinandega")
        self.presses("^Atrás$")
        self.presses("^Atrás$")
        assert self.page.input_value("[name=given_name]") == marked("Yolanda")
        self.presses("^Seguir$")
        self.page.locator("li", has_text=shelter_service).get_by_role("button").first.click()

    def sends_in_an_emergency(self, note: str) -> str:
        """Sends on an override, because the person could not be asked; returns the page's path."""
        self.presses("Siga sin consentimiento")
        self.chooses("override_reason_code", "life_at_risk")
        self.page.fill("[name=note]", marked(note))
        self.says_how_she_arrives()
        self.presses("Enviar sin consentimiento")
        self.sees("Otra persona debe confirmarla")
        return self.where()


class ShelterWorker(Actor):
    """A shelter worker, who receives people at night."""

    def finds_it_on_today(self, code: str) -> None:
        self.goes_to("/today")
        self.sees(code)

    def accepts(self) -> None:
        self.presses("Ya la vimos")
        self.finds_it("Vista")
        self.fills_in("accept")
        self.finds_it("Aceptada")

    def fills_in(self, step: str) -> None:
        """Unfolds the form of a step, and sends it unchanged."""
        self.page.locator(f"#form-{step} > summary").click()
        self.page.locator(f"#{step} button").click()

    def opens(self, name: str) -> None:
        """Opens the data that the person's consent covers, and checks that this name is there."""
        self.page.locator("details", has_text="Elegir qué abrir").last.locator("summary").click()
        self.presses("Abrir y dejar constancia")
        self.sees(name)

    def begins_and_completes(self) -> None:
        self.fills_in("start")
        self.finds_it("En curso")
        self.page.locator("#form-complete > summary").click()
        self.chooses("outcome_code", "fully_met")
        self.page.locator("#complete button").click()
        self.finds_it("Terminada")


class Caller(Actor):
    """The caller: she has a reference and a PIN, and perhaps only a borrowed phone."""

    def looks_up(self, reference: str, pin: str) -> None:
        self.goes_to("/my-referral")
        self.page.fill("#reference", reference)
        self.page.fill("#pin", pin)
        self.presses("^Ver$")

    def reads(self, reference: str, pin: str, words: str) -> None:
        """Looks up the reference, and checks that the page contains these words."""
        self.looks_up(reference, pin)
        self.sees(words)


class Actors:
    """The actors of a test."""

    def __init__(self, browser: Browser, stack: LocalStack) -> None:
        self._browser, self._stack = browser, stack
        self._created: list[Actor] = []

    def enter(self, email: str = "", *, scripts: bool = False) -> Actor:
        """Returns a new actor, signed in if an e-mail is given."""
        return self.enter_as(Actor, email, scripts=scripts)

    def enter_as(
        self, kind: type[SomeActor], email: str = "", *, scripts: bool = False
    ) -> SomeActor:
        """Returns a new actor of a kind, signed in if an e-mail is given."""
        actor = kind(self._browser, self._stack, scripts=scripts)
        self._created.append(actor)
        if email:
            actor.signs_in(email)
        return actor

    def leave(self) -> None:
        """Closes all browsers."""
        for actor in self._created:
            actor.leaves()
