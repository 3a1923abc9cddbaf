"""The pages, one file a noun. Each asks the services, chooses words, and renders; a form comes back to the file that showed it."""

from importlib import import_module

from flask import Flask

from services.gateway.pages import frame

# In the order in which their entries stand in the navigation.
NOUNS = (
    "health home signin sign_in_providers account proof made passkeys invitation forgotten join my_referral open_directory today line advice enquiries "
    "referral_new referral people knowledge erasures emergencies plans search imports directory suspension entry board several shift audit pathways "
    "deadlines figures campaigns network_roles members webhooks keys inbox live"
).split()
FOR_DEVELOPMENT = ("outbox", "components")


def register(app: Flask) -> None:
    """Gives the app its pages and what all of them show."""
    frame.install(app)
    for noun in (*NOUNS, *(FOR_DEVELOPMENT if app.config["DEVELOPMENT"] else ())):
        app.register_blueprint(import_module(f"{__name__}.{noun}").pages.blueprint)
