"""The pages that people see: the time that the gateway takes for a page, and its size."""

from __future__ import annotations

import gzip
import re
import time
from urllib.parse import urljoin, urlsplit

import requests

from bench.figures import Measurement, percentile
from tests.parts.local_stack import LocalStack

PEOPLE = (
    "trabajadora@puentes",
    "albergue@lunanueva",
    "operadora@llamayvive",
    "gestion@puentes",
    "coordinacion@coalicion",
)
PAGES, TIMES = 25, 8  # maximum number of pages for each person, and requests for each page
_SKIPPED = re.compile(
    r"^/(api|static|sign-out|leave|exit|healthz|readyz|metrics|robots|favicon)|lang="
)


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures the pages that five people of different roles reach by links, several times each; at
    most PAGES pages for each person.
    """
    milliseconds: list[float] = []
    sizes: dict[str, float] = {}
    for person in PEOPLE:
        with requests.Session() as session:
            sign_in(session, stack, person)
            for path, page in crawl(session, stack.gateway).items():
                sizes[path] = compressed_kb(session, stack.gateway, page)
                for _ in range(TIMES):
                    begin = time.perf_counter()
                    session.get(stack.gateway + path, timeout=10)
                    milliseconds.append((time.perf_counter() - begin) * 1000)
    largest = max(sizes, key=lambda path: sizes[path])
    kind = re.sub(r"[0-9a-f]{32}", "…", largest)
    return [
        Measurement(
            "page_ms_p99",
            percentile(milliseconds, 99),
            f"{len(milliseconds)} requests of {len(sizes)} pages, one after another, by"
            f" {len(PEOPLE)} people; beside: p50",
            percentile(milliseconds, 50),
        ),
        Measurement(
            "page_kb_max",
            sizes[largest],
            f"page, style and script together, each gzipped; the largest is {kind}",
        ),
    ]


def sign_in(
    session: requests.Session, stack: LocalStack, person: str, *, stay: bool = False
) -> None:
    """Signs the person in as a browser does; with `stay`, does not follow the redirect."""
    account = stack.account(person)
    form = session.get(f"{stack.gateway}/sign-in", timeout=10)
    proof = re.search(r'name="form_token" value="([^"]+)"', form.text)
    assert proof
    answer = session.post(
        f"{stack.gateway}/sign-in",
        data={"email": account["email"], "password": account["password"], "form_token": proof[1]},
        timeout=10,
        allow_redirects=not stay,
    )
    assert answer.is_redirect if stay else answer.status_code == 200, answer.status_code


def crawl(session: requests.Session, gateway: str) -> dict[str, str]:
    """Follows links from the first page; returns the text of each page under its path, at most
    PAGES pages.
    """
    paths, pages = ["/"], dict[str, str]()

    def follow(href: str, base: str) -> None:
        url = urlsplit(urljoin(base, href))
        target = url.path + (f"?{url.query}" if url.query else "")
        if (
            url.netloc == urlsplit(gateway).netloc
            and target not in paths
            and not _SKIPPED.search(target)
        ):
            paths.append(target)

    for path in paths:
        if len(pages) >= PAGES:
            break
        answer = session.get(gateway + path, timeout=10, allow_redirects=False)
        if answer.is_redirect:
            follow(answer.headers["location"], answer.url)
        if answer.status_code != 200 or "html" not in answer.headers.get("content-type", ""):
            continue
        pages[path] = answer.text
        for href in re.findall(r'<a[^>]* href="([^"#]+)"', answer.text):
            follow(href.replace("&amp;", "&"), answer.url)
    return pages


def compressed_kb(session: requests.Session, gateway: str, page: str) -> float:
    """Returns the size in kB of a page with its styles and scripts, each compressed."""
    parts = [page.encode()]
    for asset in set(re.findall(r'(?:src|href)="(/static/[^"]+\.(?:css|js))[^"]*"', page)):
        parts.append(session.get(gateway + asset, timeout=10).content)
    return sum(len(gzip.compress(part, 6)) for part in parts) / 1000
