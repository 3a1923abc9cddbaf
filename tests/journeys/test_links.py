"""Every link of every page works, for each role, starting at the role's first page."""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests

EMAIL_OF_ROLE = {
    "operator": "operadora@llamayvive.demo",
    "operator and manager": "jefa@llamayvive.demo",
    "worker": "trabajadora@puentes.demo",
    "worker and manager": "gestion@lunanueva.demo",
    "police": "comisaria@chinandega.demo",
    "coordinator": "coordinacion@coalicion.demo",
    "auditor": "auditoria@coalicion.demo",
    "nobody": "",
}
# Not all pages of one kind are opened, because they use the same template.
MAX_PAGES_OF_A_KIND = 4
_ID = re.compile(r"/[0-9a-f]{32}|/NI-\w+")


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.token = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if attributes.get("name") == "form_token":
            self.token = attributes["value"]


def sign_in(session: requests.Session, stack: Any, email: str) -> None:
    form = session.get(f"{stack.gateway}/sign-in", timeout=10)
    account = next(account for account in stack.demo["accounts"] if account["email"] == email)
    fields = {"email": email, "password": account["password"], "form_token": Links(form.text).token}
    answer = session.post(
        f"{stack.gateway}/sign-in", data=fields, timeout=10, allow_redirects=False
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/today")
    # The cookie is for https and this machine's own address; requests would not send it back.
    session.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", EMAIL_OF_ROLE)
def test_every_link_of_every_page_opens(role: str, stack: Any) -> None:
    session = requests.Session()
    if EMAIL_OF_ROLE[role]:
        sign_in(session, stack, EMAIL_OF_ROLE[role])
    start = f"{stack.gateway}/today" if EMAIL_OF_ROLE[role] else stack.gateway
    queue, visited, kinds, broken_links = [(start, "the beginning")], {start}, Counter[str](), []
    while queue:
        address, origin = queue.pop(0)
        answer = session.get(address, timeout=20)
        if answer.status_code != 200 or (
            EMAIL_OF_ROLE[role] and answer.url.startswith(f"{stack.gateway}/sign-in")
        ):
            broken_links.append(f"{answer.status_code} {address} from {origin}")
            continue
        if "html" not in answer.headers.get("Content-Type", ""):
            continue
        for link in Links(answer.text).links:
            target = urljoin(answer.url, link).partition("#")[0]
            parts = urlsplit(target)
            kind = (
                _ID.sub("/ID", parts.path)
                + "?"
                + ",".join(sorted(re.findall(r"(\w+)=", parts.query)))
            )
            if (
                not target.startswith(stack.gateway)
                or target in visited
                or parts.path == "/quick-exit"
                or "lang=" in parts.query
            ):
                continue
            visited.add(target)
            kinds[kind] += 1
            if kinds[kind] <= MAX_PAGES_OF_A_KIND:
                queue.append((target, address))
    assert not broken_links, "\n".join(broken_links)
    assert len(kinds) >= (3 if not EMAIL_OF_ROLE[role] else 6), kinds
