"""REST for partner systems, below /api/v1: the nouns, the OpenAPI they add up to, and its docs page.

Everything a page can do, a system can do here, in its own name: a key or a token, never a cookie. The API knows no rule of the business;
it reads strictly, asks the services, and says plainly what they answered.
"""

import json
from typing import Any

from flask import Flask

from services.gateway.api import docs, spec
from services.gateway.api.contacts import contacts
from services.gateway.api.directory_services import directory_services
from services.gateway.api.members import members
from services.gateway.api.notifications import notifications
from services.gateway.api.organizations import organizations
from services.gateway.api.people import people
from services.gateway.api.receipts import receipts
from services.gateway.api.references import references
from services.gateway.api.referral_verbs import referral_verbs
from services.gateway.api.referrals import referrals
from services.gateway.api.routes import install
from services.gateway.api.statistics import statistics
from services.gateway.api.taxonomy import taxonomy
from services.gateway.api.tokens import tokens
from services.gateway.api.webhooks import webhooks

NOUNS = (
    referrals,
    referral_verbs,
    people,
    receipts,
    contacts,
    references,
    directory_services,
    organizations,
    taxonomy,
    members,
    tokens,
    notifications,
    webhooks,
    statistics,
)


def register(app: Flask) -> None:
    """Gives the app the API."""
    app.config.update(spec.settings())
    api = spec.DocumentedApi(app)
    root = install(app, NOUNS)
    root.register_views_in_doc(api, app, api.spec, name=root.name, parameters=None)
    for noun in NOUNS:
        api.spec.tag({"name": noun.name, "description": noun.description})
    document = api.spec.to_dict()
    app.extensions["openapi"] = document
    docs.install(app, document)


def openapi() -> dict[str, Any]:
    """The OpenAPI document, without running services."""
    app = Flask("services.gateway")
    register(app)
    document: dict[str, Any] = app.extensions["openapi"]
    return document


def openapi_text() -> str:
    """The same as it is committed: docs/openapi.json."""
    return json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n"
