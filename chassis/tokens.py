"""Caller tokens: short-lived JWTs signed with Ed25519 (the algorithm is named as RFC 9864
requires), issued by the partners service and verified by each service.

A token names its caller (a worker or an API key), the organisation, and the roles or scopes. A
token does not prove that the member is in good standing: each service checks that with the facts
that it has received. A token is valid at one service, its audience, and nowhere else. Because a
token lives for only a few seconds, a revocation takes effect in time even if its fact has not
arrived.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import GuestProtocol, OKPKey

from chassis.clock import Clock
from chassis.errors import Unauthenticated
from chassis.second import UNKNOWN, Kin

ISSUER = "enlace.partners"
GATEWAY = "enlace.gateway"
# A revocation takes effect everywhere within five seconds, even if its facts do not arrive
# (docs/decisions/0019): three seconds of lifetime, one for differing clocks, one for the call.
LIFETIME = timedelta(seconds=3)
LEEWAY = 1
PROOF_LIFE = timedelta(minutes=10)
"""How long after a proof of identity a session may do things that outlast the session."""
ADDRESS_LIFETIME = timedelta(seconds=15)
"""How long a signed client address is accepted: longer than any call takes, including its retries.
"""
# Maximum number of tokens that are remembered after their signature was verified: a caller sends
# the same token for a second or more.
_MAX_VERIFIED = 1000
_REREAD_SIGNING = 1.0  # minimum seconds between two reads of the signing key
_REREAD = 4.0  # seconds after which a removed key is no longer accepted
# Minimum seconds between two reads for an unknown `kid`, so that invalid tokens do not cause
# constant reads.
_REREAD_UNKNOWN = 0.2


@dataclass(frozen=True)
class Evidence:
    """Evidence that a service received a token: the SHA-256 of the token in hexadecimal digits, and
    the token's expiry time.

    The evidence can't be used as a token.
    """

    hash: str
    end: datetime


@dataclass(frozen=True)
class Caller:
    """The party that makes a call.

    `kind` is worker, key, public (an unknown caller) or system. `kin` are the other accounts that
    may belong to the same person; the caller can't be the second person for their proposals.
    `token` is the evidence of the caller's token; None without one. `prove_time` is when a worker
    last proved her identity in this session; None if that is unknown.
    """

    id: str
    kind: str
    organization_id: str
    roles: frozenset[str] = field(default_factory=frozenset)
    scopes: frozenset[str] = field(default_factory=frozenset)
    language: str = "es"
    kin: Kin = UNKNOWN
    token: Evidence | None = field(default=None, compare=False)
    prove_time: datetime | None = None

    def has(self, role: str) -> bool:
        """Returns True if the caller has a role."""
        return role in self.roles

    def has_proved(self, now: datetime) -> bool:
        """Returns True for a worker who proved her identity recently, and for an API key, which has
        no session and need not prove anything.
        """
        return self.kind == "key" or (
            self.prove_time is not None and abs(now - self.prove_time) <= PROOF_LIFE
        )


SYSTEM = Caller("system", "system", "")
"""The service itself."""
NOBODY = Caller("public", "public", "")
"""A caller without a token."""


class Issuer:
    """Signs tokens with a private key. If `key` is a callable, it returns the current private key;
    it is called again at most once a second.
    """

    def __init__(self, key: OKPKey | Callable[[], OKPKey], clock: Clock) -> None:
        self._read: Callable[[], OKPKey] = (lambda: key) if isinstance(key, OKPKey) else key
        self._key, self._read_at = self._read(), time.monotonic()
        self._clock = clock

    def issue(
        self, caller: Caller, audience: str, since: datetime | None = None
    ) -> tuple[str, datetime]:
        """Returns a token for this caller at this service (enlace.<service>), and its expiry time.

        `since` is a time before the caller's standing was checked. The token's lifetime counts
        from that time, so a caller who is revoked between the check and the signature does not
        get the whole lifetime.
        """
        start = since or self._clock.now()
        end = start + LIFETIME
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": caller.id,
            "kind": caller.kind,
            "org": caller.organization_id,
            "roles": sorted(caller.roles),
            "scopes": sorted(caller.scopes),
            "lang": caller.language,
            "kin": sorted(caller.kin.marks),
            "alone": caller.kin.alone,
            "iat": start.timestamp(),
            "exp": end.timestamp(),
        }
        if caller.prove_time:
            claims["proved"] = caller.prove_time.timestamp()
        if time.monotonic() - self._read_at > _REREAD_SIGNING:
            self._key, self._read_at = self._read(), time.monotonic()
        return jwt.encode(
            {"alg": "Ed25519", "kid": self._key.kid}, claims, self._key, algorithms=["Ed25519"]
        ), end


def _kin(claims: Mapping[str, Any]) -> Kin:
    """Returns the kin that a token carries, as of its issue; UNKNOWN if it carries none."""
    if "kin" not in claims:
        return UNKNOWN
    return Kin(
        frozenset(claims["kin"]), str(claims["alone"]), datetime.fromtimestamp(claims["iat"], UTC)
    )


class Verifier:
    """Verifies tokens for one audience, each with the public key that its `kid` names; during a
    rotation two keys are valid.
    """

    def __init__(
        self, key: OKPKey | Callable[[], Mapping[str, OKPKey]], audience: str, clock: Clock
    ) -> None:
        """If `key` is a callable, it returns the current keys. It is called again every few
        seconds, and for an unknown `kid`.
        """
        self._read: Callable[[], Mapping[str, OKPKey]] = (
            (lambda: {str(key.kid): key}) if isinstance(key, OKPKey) else key
        )
        self._keys = dict(self._read())
        self._read_at = time.monotonic()
        self._audience = audience
        self._clock = clock
        self._verified = dict[str, tuple[str, OKPKey, dict[str, Any]]]()

    def verify(self, token: str) -> Caller:
        """Returns the caller that a token names. Raises Unauthenticated token_expired or
        token_invalid.
        """
        return self.verify_with_expiry(token)[0]

    def verify_with_expiry(
        self, token: str, seconds_waited: float = 0.0
    ) -> tuple[Caller, datetime]:
        """Returns the caller that a token names, and the token's expiry time. Raises
        Unauthenticated token_expired or token_invalid.

        `seconds_waited` is the time that the call has waited in this service: the token counts as
        expired only if it had expired when the call arrived.
        """
        registry = jwt.JWTClaimsRegistry(
            # Not rounded to seconds, since a token lives for only a few seconds; the library only
            # compares the numbers.
            now=cast("int", self._clock.now().timestamp()),
            leeway=cast("int", LEEWAY + seconds_waited),
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            claims = self._verified_claims(token)
            registry.validate(claims)
            end = datetime.fromtimestamp(claims["exp"], UTC)
            caller = Caller(
                id=str(claims["sub"]),
                kind=str(claims["kind"]),
                organization_id=str(claims["org"]),
                roles=frozenset(claims["roles"]),
                scopes=frozenset(claims["scopes"]),
                language=str(claims["lang"]),
                kin=_kin(claims),
                token=Evidence(sha256(token.encode()).hexdigest(), end),
                prove_time=datetime.fromtimestamp(claims["proved"], UTC)
                if "proved" in claims
                else None,
            )
            return caller, end
        except ExpiredTokenError as error:
            raise Unauthenticated("token_expired") from error
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise Unauthenticated("token_invalid") from error

    def subject(self, token: str) -> str:
        """Returns the caller's id in a token; "" if the token's signature is not valid. Checks
        neither the token's audience nor its expiry, so the result proves nothing about a call.
        """
        try:
            return str(self._verified_claims(token)["sub"]) if token else ""
        except (JoseError, KeyError, TypeError, ValueError):
            return ""

    def _verified_claims(self, token: str) -> dict[str, Any]:
        """Returns the claims of a token after checking its signature.

        The signature of a token is checked only once, as long as its key stays valid.
        """
        verified = self._verified.get(token)
        if verified is not None and self._current_key(verified[0]) is verified[1]:
            return verified[2]
        decoded = jwt.decode(token, self._key_of, algorithms=["Ed25519"])
        kid = str(decoded.header["kid"])
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified = {}
        self._verified[token] = kid, self._current_key(kid), decoded.claims
        return decoded.claims

    def _key_of(self, token: GuestProtocol) -> OKPKey:
        """Returns the key with the `kid` of a token; raises KeyError for an unknown `kid`."""
        return self._current_key(str(token.headers()["kid"]))

    def _current_key(self, kid: str) -> OKPKey:
        now = time.monotonic()
        if now - self._read_at > (_REREAD_UNKNOWN if kid not in self._keys else _REREAD):
            self._read_at = now
            with suppress(OSError, ValueError):  # unreadable files leave the keys as they were
                self._keys = dict(self._read())
        return self._keys[kid]


class AddressSigner:
    """Signs the addresses of clients that have no token; the gateway alone has the key."""

    def __init__(self, key: OKPKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def sign(self, address: str, audience: str) -> str:
        """Returns a token that tells one service the client's address; valid for a few seconds.

        An empty address means that it is unknown.
        """
        now = self._clock.now()
        claims = {
            "iss": GATEWAY,
            "aud": audience,
            "address": address,
            "exp": (now + ADDRESS_LIFETIME).timestamp(),
        }
        return jwt.encode(
            {"alg": "Ed25519", "kid": self._key.kid}, claims, self._key, algorithms=["Ed25519"]
        )


class AddressReader:
    """Verifies client addresses, each with the gateway's public key that its `kid` names."""

    def __init__(
        self, keys: Callable[[], Mapping[str, OKPKey]], audience: str, clock: Clock
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._clock = clock

    def read(self, token: str, seconds_waited: float = 0.0) -> str | None:
        """Returns the address; None if the token is invalid, expired, or for another service.

        `seconds_waited` is the time that the call has waited in this service.
        """
        keys = self._keys()
        registry = jwt.JWTClaimsRegistry(
            now=cast("int", self._clock.now().timestamp() - seconds_waited),
            leeway=LEEWAY,
            iss={"essential": True, "value": GATEWAY},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(
                token, lambda guest: keys[str(guest.headers()["kid"])], algorithms=["Ed25519"]
            ).claims
            registry.validate(claims)
            return str(claims["address"])
        except (JoseError, KeyError, TypeError, ValueError):
            return None
