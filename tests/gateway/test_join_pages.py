"""The pages by which an organisation applies, with fake services."""

from flask.testing import FlaskClient

from chassis import errors
from tests.gateway.pages_gateway import FakePageServices, missing, submit

SECRET = "the-secret-of-a-link"


def send(visitor: FlaskClient, path: str, **fields: str) -> tuple[int, str]:
    """Sends the form of a page; returns the status and the next page."""
    answer = submit(visitor, path, visitor.get(path).text, **fields)
    return answer.status_code, answer.text


def test_an_application_is_counted_by_client_address_and_the_applicant_is_told_of_the_email(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    status, page = send(visitor, "/join", name="San Lucas", contact_email="parroquia@a.example")
    assert (status, "le enviamos un correo" in page) == (200, True)
    assert fakes.calls[-1][2].origin["client-address"] == "127.0.0.1"


def test_an_applicant_who_applied_too_often_is_told_when_to_try_again(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ApplyForMembership"] = errors.Exhausted("too_many_attempts", 60)
    status, page = send(visitor, "/join", name="San Lucas")
    assert (status, missing(page, "pruebe en una hora", 'value="San Lucas"')) == (429, [])


def test_the_link_in_the_email_confirms_the_application(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    status, page = send(visitor, "/join/confirm", token=f" {SECRET} ")
    assert (status, missing(page, "Recibimos su pedido", SECRET)) == (200, [SECRET])
    assert fakes.last("ConfirmApplication").token == SECRET


def test_an_invalid_link_leads_to_a_page_that_says_that_it_is_invalid(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ConfirmApplication"] = errors.NotFound()
    status, page = send(visitor, "/join/confirm", token=SECRET)
    assert (status, missing(page, "Este enlace no sirve", 'href="/join"')) == (404, [])
