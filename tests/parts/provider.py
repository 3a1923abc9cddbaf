"""A ministry's own sign-in provider (OpenID Connect), real and on this machine.

The provider is Authlib's server, with people, a login form, and ways to cheat. Unless a test
cheats, Authlib makes the signed tokens. Use `Provider(…)` … `stop()`; `signs_in` acts as a browser
would.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

PASSWORD = "clave del ministerio"
FORM = """<!doctype html><html lang="es"><title>Ministerio de Prueba</title><h1>Ministerio de Prueba</h1><form method="post">
<label>Usuario <input name="user"></label> <label>Clave <input name="password" type="password"></label> <button>Seguir</button></form></html>"""  # noqa: E501


@cache
def rsa_key(kid: str) -> RSAKey:
    """Returns the RSA key with this id; cached, because generating a key is slow."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@dataclass
class Person:
    """A person with an account at the ministry."""

    id: str
    email: str
    email_verified: bool = True
    methods: tuple[str, ...] = ("pwd",)


@dataclass
class Client(ClientMixin):  # type: ignore[misc]
    """Enlace, as a client of the provider."""

    id: str
    secret: str
    redirect_uri: str

    def get_client_id(self) -> str:
        return self.id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    """A code that the provider has issued."""

    code: str
    person: Person
    nonce: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str
    auth_time: int

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> list[str]:
        return list(self.person.methods)


Cheat = Callable[[dict[str, Any]], str]


@dataclass
class Provider:
    """The provider.

    `now` is the provider's clock; `cheat` makes each signed token from its claims, in Authlib's
    place; `discovery` replaces fields of the discovery document. With `spread`, authorization,
    tokens and keys each have a port of their own, just as each has a host of its own at large
    providers.
    """

    redirect_uri: str
    people: dict[str, Person]
    now: Callable[[], float] = time.time
    cheat: Cheat | None = None
    discovery: dict[str, Any] = field(default_factory=dict)
    hangs: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list)
    spread: bool = False

    def __post_init__(self) -> None:
        # the provider is on this machine, without TLS
        os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
        self.key = rsa_key("first")
        self.codes: dict[str, Code] = {}
        self._ended = threading.Event()
        # a cached document of one provider must not apply to a later one on the same port
        realm = secrets.token_hex(4)
        app = self._app(f"/realms/{realm}")
        self._servers = [
            make_server("127.0.0.1", 0, app, threaded=True) for _ in range(4 if self.spread else 1)
        ]
        self.issuer, *others = (
            f"http://127.0.0.1:{server.server_port}/realms/{realm}" for server in self._servers
        )
        self.authorization, self.tokens, self.keys = others or [self.issuer] * 3
        self.client = Client("enlace", "un secreto: con/signos", self.redirect_uri)
        self._threads = [
            threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def claims(self) -> dict[str, Any]:
        """Returns the claims that every token has."""
        now = int(self.now())
        return {"iss": self.issuer, "aud": [self.client.id], "iat": now, "exp": now + 300}

    def sign(
        self, claims: dict[str, Any], alg: str = "RS256", key: Any = None, kid: str = "first"
    ) -> str:
        """Signs claims, for cheats."""
        return jwt.encode({"alg": alg, "kid": kid}, claims, key or self.key, algorithms=[alg])

    def signs_in(self, address: str, user: str) -> dict[str, str]:
        """Signs a user in at an address; returns the parameters that a browser brings back."""
        answer = requests.post(
            address,
            data={"user": user, "password": PASSWORD},
            allow_redirects=False,
            timeout=10,
        )
        assert answer.status_code == 302, answer.text
        assert answer.headers["Location"].startswith(self.redirect_uri + "?")
        return {
            name: values[0]
            for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()
        }

    def _app(self, realm: str) -> Flask:
        app = Flask("provider")
        server = AuthorizationServer(
            app,
            lambda id: self.client if id == self.client.id else None,
            lambda token, request: None,
        )
        server.register_grant(_grant(self), [_tokens(self), CodeChallenge(required=True)])

        @app.before_request
        def note() -> None:
            self.paths.append(request.path)
            if self.hangs.is_set():
                self._ended.wait(30)

        @app.get(f"{realm}/.well-known/openid-configuration")
        def discovery() -> Any:
            document = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.authorization}/authorize",
                "token_endpoint": f"{self.tokens}/token",
                "jwks_uri": f"{self.keys}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
            return jsonify(document | self.discovery)

        @app.get(f"{realm}/keys")
        def keys() -> Any:
            return jsonify({"keys": [self.key.as_dict(private=False)]})

        @app.route(f"{realm}/authorize", methods=["GET", "POST"])
        def authorize() -> Any:
            grant = server.get_consent_grant(end_user=None)
            if request.method == "GET":
                return FORM
            person = (
                self.people.get(request.form["user"])
                if request.form["password"] == PASSWORD
                else None
            )
            if person is None:
                return FORM, 401
            return server.create_authorization_response(grant_user=person, grant=grant)

        @app.post(f"{realm}/token")
        def token() -> Any:
            return server.create_token_response()

        return app


def _grant(provider: Provider) -> type[grants.AuthorizationCodeGrant]:
    class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            provider.codes[code] = Code(
                code,
                request.user,
                data.get("nonce", ""),
                request.payload.redirect_uri,
                request.scope,
                data.get("code_challenge", ""),
                data.get("code_challenge_method", ""),
                int(provider.now()),
            )

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            del provider.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: Code) -> Person:
            return authorization_code.person

    return Grant


def _tokens(provider: Provider) -> OpenIDCode:
    class Tokens(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in provider.codes.values())

        def resolve_client_private_key(self, client: Client) -> RSAKey:
            return provider.key

        def get_encode_header(self, client: Client) -> dict[str, str]:
            return {"alg": "RS256", "kid": str(provider.key.kid)}

        def get_client_claims(self, client: Client) -> dict[str, Any]:
            return provider.claims()

        def generate_user_info(self, user: Person, scope: str) -> UserInfo:
            return UserInfo(sub=user.id, email=user.email, email_verified=user.email_verified)

        def encode_id_token(self, token: Any, request: Any) -> str:
            honest: str = super().encode_id_token(token, request)
            return (
                provider.cheat(jwt.decode(honest, provider.key).claims)
                if provider.cheat
                else honest
            )

    return Tokens(require_nonce=True)
