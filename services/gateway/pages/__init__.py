"""The pages, one file a noun. Each asks the services, chooses words, and renders; a form comes back to the file that showed it."""

from flask import Flask

from services.gateway.pages import (
    account,
    advice,
    audit,
    board,
    campaigns,
    components,
    deadlines,
    directory,
    emergencies,
    enquiries,
    entry,
    erasures,
    figures,
    frame,
    health,
    home,
    imports,
    inbox,
    invitation,
    join,
    keys,
    knowledge,
    line,
    live,
    members,
    my_referral,
    open_directory,
    outbox,
    passkeys,
    pathways,
    people,
    plans,
    referral,
    referral_new,
    search,
    several,
    shift,
    sign_in_providers,
    signin,
    today,
    webhooks,
)

NOUNS = (
    health,
    home,
    signin,
    sign_in_providers,
    account,
    passkeys,
    invitation,
    join,
    my_referral,
    open_directory,
    today,
    line,
    advice,
    enquiries,
    referral_new,
    referral,
    people,
    knowledge,
    erasures,
    emergencies,
    plans,
    search,
    imports,
    directory,
    entry,
    board,
    several,
    shift,
    audit,
    pathways,
    deadlines,
    figures,
    campaigns,
    members,
    webhooks,
    keys,
    inbox,
    live,
)


def register(app: Flask) -> None:
    """Gives the app its pages and what all of them show."""
    frame.install(app)
    for noun in NOUNS:
        app.register_blueprint(noun.blueprint)
    if app.config["DEVELOPMENT"]:
        app.register_blueprint(outbox.blueprint)
        app.register_blueprint(components.blueprint)
