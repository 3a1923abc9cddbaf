"""Signing in by somebody else's provider (OpenID Connect): the authorization code flow with PKCE, and what its answer has to be before it is believed.

Believed is what the issuer's own keys signed, for us, for this one question, a moment ago. Nothing is asked of any other host than the issuer's.
Limit: providers whose addresses lie on several hosts (Google's) are refused; what is fetched of one is believed for five minutes.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol, KeySet, OKPKey, RSAKey

from chassis import deadline
from chassis.egress import EgressClient
from chassis.errors import Unavailable

# None that a public key could be used for as a secret (HS256), and never `none`.
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
LEEWAY = 60  # seconds by which the provider's clock may be wrong
MAX_AGE = 900  # seconds since somebody proved to the provider who she is: as long as a session here may be idle
PATIENCE = 3.5  # seconds for all that one sign-in asks of a provider
_DOCUMENT = 262_144  # bytes; the largest of large ones have a fifth of it
_BELIEVED = 300.0  # seconds
_AGAIN = 10.0  # seconds after a failure, or for a key that is not known: strangers must not keep us asking
_AT_ONCE = 4  # that wait for providers in one process: one that hangs must not take all its threads
_ID_TOKEN = 16_384  # characters
_LEAST_RSA = 2048  # bits
_BUSY = "busy"


class NotBelieved(Exception):
    """What the provider answered does not prove who it is."""


@dataclass(frozen=True)
class Client:
    """We, as a provider knows us."""

    issuer: str
    id: str
    secret: str
    redirect_uri: str


@dataclass(frozen=True)
class Identity:
    """Who it is, as the issuer says. `email` is empty unless it has verified it; `several_factors`: by more than a password (RFC 8176 `mfa`)."""

    subject: str
    email: str
    several_factors: bool


@dataclass(frozen=True)
class _Provider:
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    secret_in_body: bool


@dataclass(frozen=True)
class _Known:
    """What was fetched, when, or that it could not be."""

    at: float
    value: Any


class RelyingParty:
    """Asks providers; safe for all threads."""

    def __init__(self, *, development: bool, patience: float = PATIENCE) -> None:
        """`development`: providers on this machine are asked, too."""
        self._development = development
        self._patience = patience
        self._known: dict[str, _Known] = {}
        self._waiting = threading.BoundedSemaphore(_AT_ONCE)

    def question(self, client: Client, secret: str, state: str) -> str:
        """The address at the provider to which a browser is sent. From `secret` follow the nonce and the verifier, which the provider sees last."""
        end = deadline.after(self._patience)
        parts = {
            "response_type": "code",
            "scope": "openid email",
            "client_id": client.id,
            "redirect_uri": client.redirect_uri,
            "state": state,
            "nonce": _from(secret, "nonce"),
            "code_challenge": _plain(hashlib.sha256(_from(secret, "verifier").encode()).digest()),
            "code_challenge_method": "S256",
            "max_age": str(MAX_AGE),
        }
        endpoint = self._provider(client.issuer, end).authorization_endpoint
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(parts)}"

    def answer(self, client: Client, secret: str, code: str, now: datetime) -> Identity:
        """Exchanges the code and says whose it is. Raises NotBelieved; Unavailable provider_unavailable, if it does not answer."""
        end = deadline.after(self._patience)
        provider = self._provider(client.issuer, end)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": _from(secret, "verifier"),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if provider.secret_in_body:
            form |= {"client_id": client.id, "client_secret": client.secret}
        else:
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        said = self._ask("POST", provider.token_endpoint, end, headers, urlencode(form).encode())
        token = said.get("id_token")
        if not isinstance(token, str) or len(token) > _ID_TOKEN:
            raise NotBelieved
        return self._read(client, provider, secret, token, now, end)

    def _read(self, client: Client, provider: _Provider, secret: str, token: str, now: datetime, end: float) -> Identity:
        def key_of(signed: GuestProtocol) -> Any:
            return self._key(provider.jwks_uri, signed.headers(), end)

        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=LEEWAY,
            iss={"essential": True, "value": client.issuer},
            aud={"essential": True, "value": client.id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": _from(secret, "nonce")},
        )
        try:
            claims = jwt.decode(token, key_of, algorithms=list(ALGORITHMS)).claims
            registry.validate(claims)
            return _identity(client, claims, now)
        except (JoseError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise NotBelieved from error

    def _key(self, address: str, headers: Any, end: float) -> RSAKey | ECKey | OKPKey:
        """The one of the issuer's keys that a token says it is signed with; of one key alone it need not say so."""
        kid = headers.get("kid")
        keys: list[Any] = self._fetched(address, end, _keys)
        if kid is not None and all(each.kid != kid for each in keys):  # the issuer may have another since
            keys = self._fetched(address, end, _keys, believed=_AGAIN)
        matches = [each for each in keys if kid is None or each.kid == kid]
        if len(matches) != 1 or matches[0].get("alg", headers["alg"]) != headers["alg"]:
            raise NotBelieved
        key: RSAKey | ECKey | OKPKey = matches[0]
        return key

    def _provider(self, issuer: str, end: float) -> _Provider:
        def read(said: dict[str, Any]) -> _Provider:
            if said.get("issuer") != issuer:
                raise ValueError
            addresses = [said[name] for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
            if any(not isinstance(each, str) or not _same_host(each, issuer) for each in addresses):
                raise ValueError
            authorize, token, keys = addresses
            ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            return _Provider(authorize, token, keys, secret_in_body="client_secret_basic" not in ways)

        provider: _Provider = self._fetched(issuer.rstrip("/") + "/.well-known/openid-configuration", end, read)
        return provider

    def _fetched(self, address: str, end: float, read: Callable[[dict[str, Any]], Any], *, believed: float = _BELIEVED) -> Any:
        known = self._known.get(address)
        if known is None or time.monotonic() - known.at > (believed if known.value is not None else _AGAIN):
            try:
                value = read(self._ask("GET", address, end, {"Accept": "application/json"}))
            except (NotBelieved, JoseError, KeyError, TypeError, ValueError, RecursionError):
                value = None
            except Unavailable as refusal:
                if refusal.why == _BUSY:  # it was not even asked
                    raise
                value = None
            self._known[address] = known = _Known(time.monotonic(), value)
        if known.value is None:
            raise Unavailable("provider_unavailable")
        return known.value

    def _ask(self, method: str, address: str, end: float, headers: dict[str, str], body: bytes = b"") -> dict[str, Any]:
        left = end - time.monotonic()
        if left <= 0 or not self._waiting.acquire(blocking=False):
            raise Unavailable("provider_unavailable", _BUSY)
        try:
            client = EgressClient(development=self._development, timeout=left)
            answer = client.ask(method, address, headers, body, most=_DOCUMENT)
            client.close()
        finally:
            self._waiting.release()
        if answer.error == "http" and 400 <= answer.code < 500:
            raise NotBelieved
        if answer.error:
            raise Unavailable("provider_unavailable")
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise NotBelieved from error
        if not isinstance(said, dict):
            raise NotBelieved
        return said


def _keys(said: dict[str, Any]) -> list[Any]:
    """Those that can have signed something; none that is a secret, is too short, or is not understood."""
    usable = []
    for each in said["keys"]:
        if isinstance(each, dict) and each.get("kty") in ("RSA", "EC", "OKP") and each.get("use", "sig") == "sig":
            try:
                [key] = KeySet.import_key_set({"keys": [each]}).keys
                if not isinstance(key, RSAKey) or key.public_key.key_size >= _LEAST_RSA:
                    usable.append(key)
            except (JoseError, KeyError, TypeError, ValueError):
                continue
    return usable


def _identity(client: Client, claims: dict[str, Any], now: datetime) -> Identity:
    """What the claims say, beyond what a registry checks."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client.id) != client.id:
        raise NotBelieved
    proved = claims.get("auth_time")
    if not isinstance(proved, int | float) or isinstance(proved, bool) or now.timestamp() - proved > MAX_AGE + LEEWAY:
        raise NotBelieved
    subject, email, ways = claims["sub"], claims.get("email"), claims.get("amr")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise NotBelieved
    verified = claims.get("email_verified") is True and isinstance(email, str) and len(email) <= 254 and email.isprintable()
    return Identity(subject, email if verified and isinstance(email, str) else "", isinstance(ways, list) and "mfa" in ways)


def _same_host(address: str, issuer: str) -> bool:
    one, other = urlsplit(address), urlsplit(issuer)
    return (one.scheme, one.netloc, one.fragment) == (other.scheme, other.netloc, "")


def _from(secret: str, purpose: str) -> str:
    return _plain(hashlib.sha256(f"{purpose}\0{secret}".encode()).digest())


def _plain(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
