"""Sign-in by an external provider (OpenID Connect): the authorization code flow with PKCE.

An answer is accepted only if the issuer's own keys signed it a moment ago, for this client and for
this one request. The discovery document, fetched from the issuer over TLS, names the issuer's
addresses. These may be on other hosts (Google's are on three), but never inside this network
(chassis/egress.py). Limitation: data fetched from a provider is trusted for five minutes.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol, KeySet, OKPKey, RSAKey

from chassis import deadline
from chassis.egress import EgressClient
from chassis.errors import Unavailable

# Algorithms for which a public key could serve as a secret (HS256), and `none`, are excluded.
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
LEEWAY = 60  # how many seconds the provider's clock may be wrong
# maximum number of seconds since the person authenticated at the provider; the same as our
# sessions' idle limit
MAX_AGE = 900
# maximum number of seconds for all requests to the provider in one step of a sign-in: sending the
# browser there, or exchanging the code
PATIENCE = 3.5
# maximum number of bytes of a document; the largest known documents have a fifth of this size
_MAX_DOCUMENT = 262_144
_TRUST_SECONDS = 300.0  # how many seconds fetched data is trusted
# minimum number of seconds between two fetches after a failure or for an unknown key, so that
# strangers cannot cause endless requests
_RETRY_AFTER = 10.0
# maximum number of threads per process that may wait for providers, so that a hanging provider
# cannot tie up all threads
_MAX_REQUESTS = 4
_MAX_ID_TOKEN = 16_384  # maximum number of characters of a token
_MIN_RSA_BITS = 2048  # minimum number of bits of an RSA key
_BUSY = "busy"
_LOCAL = ("127.0.0.1", "localhost", "::1")
# auth_time is requested twice, through max_age and by name, because Google sends it only if it is
# named.
_CLAIMS = json.dumps({"id_token": {"auth_time": {"essential": True}}}, separators=(",", ":"))


class IdentityNotProven(Exception):
    """The provider's answer does not prove the person's identity."""


@dataclass(frozen=True)
class Client:
    """This network, as a provider knows it."""

    issuer: str
    id: str
    secret: str
    redirect_uri: str


@dataclass(frozen=True)
class Identity:
    """The identity of a person, as the issuer states it.

    `email` is empty unless the issuer has verified it. `several_factors`: the person used more than
    a password at the issuer (RFC 8176 `mfa`). `prove_time`: when the person authenticated there.
    """

    subject: str
    email: str
    several_factors: bool
    prove_time: datetime


@dataclass(frozen=True)
class _Provider:
    """The metadata of a provider (OpenID Connect Discovery 1.0)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    secret_in_body: bool
    names_itself: bool  # whether the provider sends its issuer with the code (RFC 9207)


class _Unusable(Exception):
    """The metadata of a provider can't be used. The argument is the reason, for operators."""


@dataclass(frozen=True)
class _CachedDocument:
    """The time of a fetch, and its result, or the reason why the fetch failed."""

    fetch_time: float
    value: Any
    reason: str = ""


class RelyingParty:
    """A client for sign-in providers. Thread-safe."""

    def __init__(self, *, development: bool, patience: float = PATIENCE) -> None:
        """Sets up the client; `development`: providers on this machine are allowed, too."""
        self._development = development
        self._patience = patience
        # The key is (issuer, address), so that no issuer can affect the data of another issuer.
        self._cache: dict[tuple[str, str], _CachedDocument] = {}
        self._request_slots = threading.BoundedSemaphore(_MAX_REQUESTS)

    def authorization_url(
        self, client: Client, secret: str, state: str, max_age: int = MAX_AGE
    ) -> str:
        """Returns the provider's address to send the browser to.

        The nonce and the verifier are derived from `secret`; the provider sees the verifier only
        when the code is exchanged. With a `max_age` of 0 seconds, the provider must authenticate
        the person again.
        """
        end = deadline.after(self._patience)
        parameters = {
            "response_type": "code",
            "scope": "openid email",
            "client_id": client.id,
            "redirect_uri": client.redirect_uri,
            "state": state,
            "nonce": _derive(secret, "nonce"),
            "code_challenge": _base64url(
                hashlib.sha256(_derive(secret, "verifier").encode()).digest()
            ),
            "code_challenge_method": "S256",
            "max_age": str(max_age),
            "claims": _CLAIMS,
        }
        endpoint = self._provider(client.issuer, end).authorization_endpoint
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(parameters)}"

    def exchange_code(
        self, client: Client, secret: str, code: str, issuer: str, now: datetime
    ) -> Identity:
        """Exchanges the code and returns the person's identity.

        `issuer` is the issuer that came with the code, or "". Raises IdentityNotProven, or
        Unavailable provider_unavailable if the provider does not answer as it should.
        """
        end = deadline.after(self._patience)
        provider = self._provider(client.issuer, end)
        if issuer != client.issuer and (issuer or provider.names_itself):
            raise IdentityNotProven
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": _derive(secret, "verifier"),
        }
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if provider.secret_in_body:
            form |= {"client_id": client.id, "client_secret": client.secret}
        else:
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        response = self._request(
            "POST", provider.token_endpoint, end, headers, urlencode(form).encode()
        )
        token = response.get("id_token")
        if not isinstance(token, str) or len(token) > _MAX_ID_TOKEN:
            raise IdentityNotProven
        return self._verified_identity(client, provider, secret, token, now, end)

    def _verified_identity(
        self,
        client: Client,
        provider: _Provider,
        secret: str,
        token: str,
        now: datetime,
        end: float,
    ) -> Identity:
        def key_of(token_object: GuestProtocol) -> Any:
            return self._key(client.issuer, provider.jwks_uri, token_object.headers(), end)

        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=LEEWAY,
            iss={"essential": True, "value": client.issuer},
            aud={"essential": True, "value": client.id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": _derive(secret, "nonce")},
        )
        try:
            claims = jwt.decode(token, key_of, algorithms=list(ALGORITHMS)).claims
            registry.validate(claims)
            return _identity(client, claims, now)
        except (JoseError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise IdentityNotProven from error

    def _key(self, issuer: str, address: str, headers: Any, end: float) -> RSAKey | ECKey | OKPKey:
        """Returns the issuer's key that a token names; an issuer's only key need not be named."""
        kid = headers.get("kid")
        keys: list[Any] = self._fetch(issuer, address, end, _keys)
        # the issuer may have added a key since the last fetch
        if kid is not None and all(candidate.kid != kid for candidate in keys):
            keys = self._fetch(issuer, address, end, _keys, trust_seconds=_RETRY_AFTER)
        matches = [candidate for candidate in keys if kid is None or candidate.kid == kid]
        if len(matches) != 1 or matches[0].get("alg", headers["alg"]) != headers["alg"]:
            raise IdentityNotProven
        key: RSAKey | ECKey | OKPKey = matches[0]
        return key

    def _provider(self, issuer: str, end: float) -> _Provider:
        def read(metadata: dict[str, Any]) -> _Provider:
            issuer_in_metadata = metadata.get("issuer")
            if issuer_in_metadata != issuer:
                # Microsoft's shared endpoints give a pattern as their issuer; if we accepted it, a
                # token from any organisation in the world would pass.
                raise _Unusable(
                    "issuer_of_many_tenants"
                    if isinstance(issuer_in_metadata, str) and "{" in issuer_in_metadata
                    else "issuer_differs"
                )
            authorize, token, keys = (
                self._web_address(metadata.get(name))
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            )
            auth_methods = metadata.get(
                "token_endpoint_auth_methods_supported", ["client_secret_basic"]
            )
            return _Provider(
                authorize,
                token,
                keys,
                secret_in_body="client_secret_basic" not in auth_methods,
                names_itself=metadata.get("authorization_response_iss_parameter_supported") is True,
            )

        provider: _Provider = self._fetch(
            issuer, issuer.rstrip("/") + "/.well-known/openid-configuration", end, read
        )
        return provider

    def _web_address(self, address: object) -> str:
        """Returns the address if it can be an endpoint. Raises _Unusable.

        It must be an https address without user name or fragment; in development, http on this
        machine is allowed, too. The IP addresses of the host name are checked later, when the
        client connects.
        """
        try:
            if isinstance(address, str) and address.isprintable() and "#" not in address:
                parts = urlsplit(address)
                host, port = parts.hostname, parts.port
                is_local_http = self._development and parts.scheme == "http" and host in _LOCAL
                if (
                    host
                    and port != 0
                    and "@" not in parts.netloc
                    and (parts.scheme == "https" or is_local_http)
                ):
                    return address
        except ValueError as error:
            raise _Unusable("endpoint_unusable") from error
        raise _Unusable("endpoint_unusable")

    def _fetch(
        self,
        issuer: str,
        address: str,
        end: float,
        read: Callable[[dict[str, Any]], Any],
        *,
        trust_seconds: float = _TRUST_SECONDS,
    ) -> Any:
        cached = self._cache.get((issuer, address))
        if cached is None or time.monotonic() - cached.fetch_time > (
            trust_seconds if cached.value is not None else _RETRY_AFTER
        ):
            value, cause = None, ""
            try:
                value = read(self._request("GET", address, end, {"Accept": "application/json"}))
            except _Unusable as error:
                cause = str(error)
            except (IdentityNotProven, JoseError, KeyError, TypeError, ValueError, RecursionError):
                cause = "answer_unreadable"
            except Unavailable as refusal:
                if refusal.cause == _BUSY:  # no request was sent
                    raise
                cause = refusal.cause
            self._cache[issuer, address] = cached = _CachedDocument(time.monotonic(), value, cause)
        if cached.value is None:
            raise Unavailable("provider_unavailable", cached.reason)
        return cached.value

    def _request(
        self, method: str, address: str, end: float, headers: dict[str, str], body: bytes = b""
    ) -> dict[str, Any]:
        remaining = end - time.monotonic()
        if remaining <= 0 or not self._request_slots.acquire(blocking=False):
            raise Unavailable("provider_unavailable", _BUSY)
        try:
            client = EgressClient(development=self._development, timeout=remaining)
            answer = client.send(method, address, headers, body, max_bytes=_MAX_DOCUMENT)
            client.close()
        finally:
            self._request_slots.release()
        if answer.error == "http" and 400 <= answer.code < 500:
            raise IdentityNotProven
        if answer.error:
            raise Unavailable("provider_unavailable", answer.error)
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise IdentityNotProven from error
        if not isinstance(document, dict):
            raise IdentityNotProven
        return document


def _keys(document: dict[str, Any]) -> list[Any]:
    """Returns the keys that may have signed a token.

    Symmetric keys, keys that are too short, and keys of unknown kinds are left out. So are keys
    with their private part (`d`): anybody can sign with a published private part, and the library
    would compute for hours with one of a million digits.
    """
    keys = []
    for entry in document["keys"]:
        if (
            isinstance(entry, dict)
            and entry.get("kty") in ("RSA", "EC", "OKP")
            and entry.get("use", "sig") == "sig"
            and "d" not in entry
        ):
            try:
                [key] = KeySet.import_key_set({"keys": [entry]}).keys
                if not isinstance(key, RSAKey) or key.public_key.key_size >= _MIN_RSA_BITS:
                    keys.append(key)
            except (JoseError, KeyError, TypeError, ValueError):
                continue
    return keys


def _identity(client: Client, claims: dict[str, Any], now: datetime) -> Identity:
    """Returns the identity in the claims, after checks that the claims registry does not make.

    Raises IdentityNotProven.
    """
    has_several_audiences = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if has_several_audiences else client.id) != client.id:
        raise IdentityNotProven
    auth_time = claims.get("auth_time")
    if (
        not isinstance(auth_time, int | float)
        or isinstance(auth_time, bool)
        or not -LEEWAY <= now.timestamp() - auth_time <= MAX_AGE + LEEWAY
    ):
        raise IdentityNotProven
    subject, email, amr = claims["sub"], claims.get("email"), claims.get("amr")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise IdentityNotProven
    # Microsoft's claim for a verified address (xms_edov) states that the organisation has proved
    # that it owns the address's domain.
    is_email_proved = claims.get("email_verified") is True or claims.get("xms_edov") in (
        True,
        "1",
        "true",
    )
    # Letters outside ASCII may look like a worker's address but belong to another mailbox.
    is_email_verified = (
        is_email_proved
        and isinstance(email, str)
        and len(email) <= 254
        and email.isascii()
        and email.isprintable()
    )
    verified_email = email if is_email_verified and isinstance(email, str) else ""
    return Identity(
        subject,
        verified_email,
        isinstance(amr, list) and "mfa" in amr,
        datetime.fromtimestamp(auth_time, UTC),
    )


def _derive(secret: str, purpose: str) -> str:
    return _base64url(hashlib.sha256(f"{purpose}\0{secret}".encode()).digest())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
