"""The pages for people: one file per noun, in a folder per audience.

Each page calls the services, chooses words, and renders; a rejected form is shown again by the file
that showed it first. The folders `public`, `desk` and `network` hold pages and never import one
another. They share `parts`; `backend` calls the services, `shell` is the frame of every page, and
`language` has the words.
"""

from importlib import import_module
from pathlib import Path

from flask import Flask

from services.gateway.config import SiteSettings
from services.gateway.site.language import i18n
from services.gateway.site.shell import errors, frame, guard, lines, live

PAGES = (
    "public.home",
    "public.signin",
    "desk.account",
    "public.links",
    "public.my_referral",
    "public.open_directory",
    "desk.today",
    "desk.line",
    "network.advice",
    "desk.enquiries",
    "desk.referral_new.drafts",
    "desk.referral",
    "desk.people",
    "desk.knowledge",
    "desk.erasures",
    "network.emergencies",
    "desk.plans",
    "desk.search",
    "desk.imports",
    "desk.directory",
    "network.member",
    "desk.entry",
    "network.board",
    "desk.several",
    "desk.shift",
    "network.audit",
    "network.pathways",
    "network.deadlines",
    "public.figures",
    "public.campaigns",
    "network.line_campaigns",
    "network.network_roles",
    "desk.members",
    "desk.webhooks",
    "desk.inbox",
    "desk.live",
)
DEVELOPMENT_PAGES = ("desk.development",)


def register(app: Flask, settings: SiteSettings) -> None:
    """Adds the pages, and all that they share, to the app.

    The app then answers a request that no route handles with an error page.
    """
    folder = Path(__file__).parent
    app.template_folder, app.static_folder = str(folder / "templates"), str(folder / "static")
    app.add_url_rule("/static/<path:filename>", "static", app.send_static_file)
    app.config.update(
        DEMO=settings.demo,
        SIGNING_KEY=settings.signing_key,
        EXIT_URL=settings.exit_url,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    equip(app, settings)
    app.extensions["answers_without_app"] = live.answers_without_app(app)
    for part in (i18n, guard, errors, frame):
        part.install(app)
    for name in (*PAGES, *(DEVELOPMENT_PAGES if app.config["DEVELOPMENT"] else ())):
        app.register_blueprint(import_module(f"{__name__}.{name}").pages.blueprint)


def equip(app: Flask, settings: SiteSettings) -> None:
    """Gives an app the state that it keeps between requests: page versions and helpline numbers."""
    app.extensions.update(
        live=live.Live(settings.signing_key),
        lines=lines.Lines(dict(settings.lines), settings.lines_file),
    )
