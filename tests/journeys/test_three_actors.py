"""A night in the network.

The actors are an operator of the line, a shelter worker, a coordinator, and the caller herself.
Everything is real: the browser, the pages, the services, the databases and the facts between them.
No JavaScript is needed, so it is switched off.
"""

import re
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys import typed
from tests.journeys.typed import hers


class Actor:
    """A person with a browser of her own."""

    def __init__(self, browser: Browser, stack: Any, *, scripts: bool = False) -> None:
        self.context: BrowserContext = browser.new_context(
            locale="es-NI", viewport={"width": 390, "height": 844}, java_script_enabled=scripts
        )
        self.context.set_default_timeout(60_000)
        typed.record_addresses(self.context)
        self.page: Page = self.context.new_page()
        self._stack = stack

    def goes_to(self, path: str) -> None:
        self.page.goto(self._stack.gateway + path)

    def signs_in(self, email: str) -> None:
        account = next(
            account for account in self._stack.demo["accounts"] if account["email"] == email
        )
        self.goes_to("/sign-in")
        self.page.fill("#email", email)
        self.page.fill("#password", account["password"])
        self.presses("Entrar")
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()

    def says_how_she_arrives(self) -> None:
        """Fills in the arrival, for a receiver who may not contact the person."""
        for name, value in (
            ("expected", "hoy a las siete"),
            ("way", "en bus, a la terminal"),
            ("company", "con una promotora"),
        ):
            self.page.fill(f"[name={name}]", hers(value))

    def presses(self, words: str) -> None:
        """Presses a button, or a link that looks like one."""
        main = self.page.get_by_role("main")
        named = re.compile(words)
        button, link = main.get_by_role("button", name=named), main.get_by_role("link", name=named)
        # the page may still be loading: a missing button does not mean a link
        button.or_(link).first.wait_for()
        (button if button.count() else link).first.click()

    def chooses(self, name: str, value: str) -> None:
        """Chooses a radio button or ticks a check box."""
        self.page.check(f"main input[name={name}][value='{value}']")

    def sees(self, words: str) -> None:
        expect(self.page.get_by_role("main")).to_contain_text(words)
        typed.record_title(self.page)

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
        typed.record_read_out(readout[0])
        return readout[0], readout[1]

    def refers_the_caller_to(self, shelter_service: str) -> str:
        """Answers all questions of a new referral; returns its address."""
        self.drafts_a_referral_to(shelter_service)
        self.keeps_her_consent("identity", "contact", "notes")
        self.sees("Revise y envíe")
        self.page.fill("[name=note]", hers("Llega en taxi hacia la medianoche."))
        self.says_how_she_arrives()
        self.presses("Enviar la remisión")
        self.finds_it("Enviada")
        return self.where()

    def where(self) -> str:
        return re.sub(r"^https?://[^/]+", "", self.page.url).split("?")[0]

    def keeps_her_consent(self, *groups: str) -> None:
        """Records the person's consent on three pages: read aloud, answered, and given.

        Nothing is ticked before she answers.
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
        self.page.locator("summary", has_text="Quién es").click()
        self.page.fill("[name=given_name]", hers("Yolanda"))
        self.chooses("channel_code", "none")
        self.presses("^Seguir$")
        self.sees("¿Con quién o dónde no está a salvo?")
        self.presses("^Seguir$")
        self.sees("Hay un problema")
        self.presses("no nombró a nadie: seguir")
        self.sees("18 a 24 años, Chinandega")
        self.presses("^Atrás$")
        self.presses("^Atrás$")
        assert self.page.input_value("[name=given_name]") == hers("Yolanda")
        self.presses("^Seguir$")
        self.page.locator("li", has_text=shelter_service).get_by_role("button").first.click()

    def sends_in_an_emergency(self, note: str) -> str:
        """Sends on an override, because nobody could be asked."""
        self.presses("Siga sin consentimiento")
        self.chooses("override_reason_code", "life_at_risk")
        self.page.fill("[name=note]", hers(note))
        self.says_how_she_arrives()
        self.presses("Enviar la remisión")
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

    def opens_who_she_is(self) -> None:
        self.opens("Yolanda")

    def opens(self, name: str) -> None:
        """Opens what the person's consent opens, and checks that her name is there."""
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

    def hears(self, reference: str, pin: str, words: str) -> None:
        self.goes_to("/my-referral")
        self.page.fill("#reference", reference)
        self.page.fill("#pin", pin)
        self.presses("^Ver$")
        self.sees(words)


def test_a_caller_at_midnight_gets_a_bed_and_is_told_of_it(browser: Browser, stack: Any) -> None:
    operator, shelter = Operator(browser, stack), ShelterWorker(browser, stack)
    coordinator, caller = Actor(browser, stack), Caller(browser, stack)

    operator.signs_in("operadora@llamayvive.demo")
    reference, pin = operator.takes_a_contact_without_a_name()
    referral = operator.refers_the_caller_to("Albergue Luna Nueva")
    code = operator.page.locator("main .code").first.inner_text()
    caller.hears(reference, pin, "Ya se pidió")

    shelter.signs_in("albergue@lunanueva.demo")
    shelter.finds_it_on_today(code)
    shelter.goes_to(referral)
    shelter.sees("taxi")
    shelter.sees("No la contacte: nadie puede llamarla.")
    shelter.accepts()
    shelter.opens_who_she_is()
    caller.hears(reference, pin, "Dijeron que sí")

    coordinator.signs_in("coordinacion@coalicion.demo")
    coordinator.goes_to("/board")
    coordinator.goes_to(referral)
    coordinator.sees("Quien ve toda la red no ve quién es.")
    assert "Yolanda" not in coordinator.page.content()
    assert "taxi" not in coordinator.page.content()

    operator.goes_to(referral)
    operator.finds_it("Aceptada")
    shelter.goes_to(referral)
    shelter.begins_and_completes()

    caller.hears(reference, pin, "¿Le llegó la ayuda?")
    caller.presses("Sí, me llegó")
    operator.goes_to(referral)
    operator.finds_it("Cerrada")
    for actor in (operator, shelter, coordinator, caller):
        actor.leaves()


def test_an_emergency_needs_a_second_person_and_ends_when_she_withdraws_her_consent(
    browser: Browser, stack: Any
) -> None:
    operator, head, shelter = (
        Operator(browser, stack),
        Actor(browser, stack),
        ShelterWorker(browser, stack),
    )
    caller = Caller(browser, stack)
    operator.signs_in("operadora@llamayvive.demo")
    reference, pin = operator.takes_a_contact_without_a_name()
    operator.drafts_a_referral_to("Albergue Luna Nueva")
    referral = operator.sends_in_an_emergency("Espera en la terminal, no puede hablar.")
    assert operator.page.get_by_role("button", name="Confirmar la emergencia").count() == 0

    head.signs_in("jefa@llamayvive.demo")
    head.goes_to(referral)
    head.presses("Confirmar la emergencia")
    head.sees("Otra persona confirmó la emergencia")

    shelter.signs_in("albergue@lunanueva.demo")
    shelter.goes_to(referral)
    shelter.sees("Espera en la terminal")
    shelter.opens_who_she_is()

    caller.hears(reference, pin, "Ahora 1 organización puede abrir")
    caller.page.locator("details", has_text="Ya no quiero que vean mis datos").locator(
        "summary"
    ).click()
    caller.presses("Retirar mi permiso")
    caller.sees("ninguna otra organización puede abrir ya sus datos")
    caller.sees("Quien abrió su expediente lo conserva")
    shelter.goes_to(referral)
    shelter.finds_it("Consentimiento retirado")
    assert "terminal" not in shelter.page.content()
    assert shelter.page.get_by_text("Abrir sus datos").count() == 0

    operator.goes_to(referral)
    operator.sees("La persona retiró su consentimiento")
    for actor in (operator, head, shelter, caller):
        actor.leaves()


def test_in_an_emergency_she_can_still_be_asked_afterwards(browser: Browser, stack: Any) -> None:
    operator = Operator(browser, stack)
    operator.signs_in("operadora@llamayvive.demo")
    operator.takes_a_contact_without_a_name()
    operator.drafts_a_referral_to("Albergue Luna Nueva")
    referral = operator.sends_in_an_emergency("Espera en la terminal.")
    operator.presses("Registrar su consentimiento")
    operator.keeps_her_consent("identity")
    operator.sees("Se registró un consentimiento nuevo")
    assert operator.where() == referral
    assert "Los datos se cierran" not in operator.page.content()
    operator.leaves()


def test_a_wrong_pin_and_an_unknown_reference_get_the_same_answer(
    browser: Browser, stack: Any
) -> None:
    caller = Caller(browser, stack)
    demo_reference = stack.demo["references"][0]["reference"]
    wrong = "0000" if stack.demo["references"][0]["pin"] != "0000" else "1111"
    answers = []
    for reference, pin in ((demo_reference, wrong), ("ZZZZZZZZ", "1234")):
        caller.goes_to("/my-referral")
        caller.page.fill("#reference", reference)
        caller.page.fill("#pin", pin)
        caller.presses("^Ver$")
        answers.append(caller.page.locator("#problem").inner_text())
    assert answers[0] == answers[1]
    caller.leaves()


def test_somebody_elses_referral_looks_like_one_that_does_not_exist(
    browser: Browser, stack: Any
) -> None:
    stranger = Actor(browser, stack)
    stranger.signs_in("salud@somoto.demo")
    operator = Actor(browser, stack)
    operator.signs_in("operadora@llamayvive.demo")
    operator.goes_to("/referrals")
    paths = [link.get_attribute("href") or "" for link in operator.page.locator("main a").all()]
    path = next(path for path in paths if re.fullmatch("/referrals/[0-9a-f]{32}", path))
    stranger.goes_to(path)
    not_yours = stranger.page.get_by_role("main").inner_text()
    stranger.goes_to("/referrals/" + "0" * 32)
    assert stranger.page.get_by_role("main").inner_text() == not_yours
    for actor in (stranger, operator):
        actor.leaves()


def test_one_click_leaves_every_page_and_ends_the_session(browser: Browser, stack: Any) -> None:
    operator = Actor(browser, stack)
    operator.signs_in("operadora@llamayvive.demo")
    operator.page.route(
        re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.fulfill(body="weather")
    )
    operator.page.get_by_text("Salir ya").first.click()
    # the page is gone before she tries to come back
    expect(operator.page).not_to_have_url(re.compile(r"^http://127\.0\.0\.1"))
    operator.goes_to("/today")
    expect(operator.page.locator("#password")).to_be_visible()
    operator.leaves()


def test_anybody_reads_the_figures_of_the_network_and_narrows_them(
    browser: Browser, stack: Any
) -> None:
    reader = Actor(browser, stack)
    reader.goes_to("/")
    reader.presses("Cifras de la red")
    reader.sees("las cifras, es inventado")  # the figures of the demo network are made up
    reader.sees("ayudas recibidas, al menos")
    reader.page.select_option("#country", "HN")
    reader.presses("Filtrar")
    reader.sees("México → Honduras")
    expect(reader.page.get_by_text("El Salvador → Nicaragua")).to_have_count(0)


def test_the_pilot_of_2006_shows_its_published_totals(browser: Browser, stack: Any) -> None:
    coordinator = Actor(browser, stack)
    coordinator.signs_in("coordinacion@coalicion.demo")
    coordinator.goes_to("/figures")
    coordinator.presses("El piloto de 2006")
    coordinator.sees("26")
    coordinator.sees("13")
    coordinator.leaves()
