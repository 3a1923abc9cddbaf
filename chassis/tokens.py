"""Caller tokens: short-lived JWTs signed with Ed25519 (EdDSA, named as RFC 9864 wants it), issued
by one service and verified by every service itself.

A token says who asks (worker or API key), for which organisation, with which roles or scopes. It is
no proof that the member is still in good standing: each service checks that against what it has
heard. It is good at one service, its audience: whoever gets hold of it there can use it nowhere
else. It lives for so few seconds that what was revoked is out in time also where that has not been
heard.
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
# Together below the five seconds in which a revocation works everywhere, whatever becomes of the
# facts that tell of it (docs/decisions/0019): three seconds, one by which clocks may differ, and
# one for the call itself.
LIFETIME = timedelta(seconds=3)
LEEWAY = 1
PROOF_LIFE = timedelta(minutes=10)
"""For so long after somebody proved who she is, her session does what outlasts it."""
ADDRESS_LIFETIME = timedelta(seconds=15)
"""How long what the gateway says of a client's address is believed: longer than any call lasts,
with what is asked again.
"""
# tokens whose signature was found right: a caller sends the same one for a second or more
_REMEMBERED = 1000
_SIGNS = 1.0  # seconds between two looks at which key is to sign
_REREAD = 4.0  # seconds after which a key that is gone signs for nobody any more
# between two looks for a key that is not known: tokens of strangers must not keep a process reading
# files
_UNKNOWN = 0.2


@dataclass(frozen=True)
class Evidence:
    """Evidence that a service had a token: its SHA-256 in hexadecimal digits, and its end.

    Nobody can use it.
    """

    hash: str
    end: datetime


@dataclass(frozen=True)
class Caller:
    """Who asks.

    `kind` is worker, key, public (it is not known who) or system; beside her `kin` she is no second
    person.

    `token` is the evidence of the token that said so; a caller whom no token named has none.
    `prove_time` is when she last proved, in this session, who she is; None: nobody says.
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
        """Whether the caller has a role."""
        return role in self.roles

    def has_proved(self, now: datetime) -> bool:
        """Whether a worker has proved lately who she is. A key has no session, and need not."""
        return self.kind == "key" or (
            self.prove_time is not None and abs(now - self.prove_time) <= PROOF_LIFE
        )


SYSTEM = Caller("system", "system", "")


class Issuer:
    """Signs tokens with the private key, or with the one that is to sign now."""

    def __init__(self, key: OKPKey | Callable[[], OKPKey], clock: Clock) -> None:
        self._read: Callable[[], OKPKey] = (lambda: key) if isinstance(key, OKPKey) else key
        self._key, self._read_at = self._read(), time.monotonic()
        self._clock = clock

    def issue(
        self, caller: Caller, audience: str, since: datetime | None = None
    ) -> tuple[str, datetime]:
        """A token for this caller at this service (enlace.<service>), and when it ends.

        `since` is a moment before the caller's standing was looked at: a revocation between look
        and signature must not have a whole lifetime before it.
        """
        begin = since or self._clock.now()
        end = begin + LIFETIME
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
            "iat": begin.timestamp(),
            "exp": end.timestamp(),
        }
        if caller.prove_time:
            claims["proved"] = caller.prove_time.timestamp()
        if time.monotonic() - self._read_at > _SIGNS:
            self._key, self._read_at = self._read(), time.monotonic()
        return jwt.encode(
            {"alg": "Ed25519", "kid": self._key.kid}, claims, self._key, algorithms=["Ed25519"]
        ), end


def _kin(claims: Mapping[str, Any]) -> Kin:
    """The kin that a token carries, as they were when it was issued; unknown where it says nothing
    of them.
    """
    if "kin" not in claims:
        return UNKNOWN
    return Kin(
        frozenset(claims["kin"]), str(claims["alone"]), datetime.fromtimestamp(claims["iat"], UTC)
    )


class Verifier:
    """Reads the tokens for one audience with the public keys, by their `kid`: two live at once
    while one takes the place of the other.
    """

    def __init__(
        self, key: OKPKey | Callable[[], Mapping[str, OKPKey]], audience: str, clock: Clock
    ) -> None:
        """A callable reads the keys that there are now; it is asked anew every few seconds, and for
        a key that is not known.
        """
        self._read: Callable[[], Mapping[str, OKPKey]] = (
            (lambda: {str(key.kid): key}) if isinstance(key, OKPKey) else key
        )
        self._keys = dict(self._read())
        self._read_at = time.monotonic()
        self._audience = audience
        self._clock = clock
        self._remembered = dict[str, tuple[str, OKPKey, dict[str, Any]]]()

    def verify(self, token: str) -> Caller:
        """Who asks; refuses with token_expired or token_invalid."""
        return self.verify_until(token)[0]

    def verify_until(self, token: str, waited: float = 0.0) -> tuple[Caller, datetime]:
        """Who asks, and when the token ends; refuses with token_expired or token_invalid.

        A call that `waited` so many seconds in this service is judged as of when it came in.
        """
        registry = jwt.JWTClaimsRegistry(
            # a second more or less is much here; the library compares numbers
            now=cast("int", self._clock.now().timestamp() - waited),
            leeway=LEEWAY,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            claims = self._signed(token)
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

    def _signed(self, token: str) -> dict[str, Any]:
        """The claims of a token that a key of ours has signed.

        The signature of the same token is checked once, while its key is ours.
        """
        remembered = self._remembered.get(token)
        if remembered is not None and self._ours(remembered[0]) is remembered[1]:
            return remembered[2]
        decoded = jwt.decode(token, self._key_of, algorithms=["Ed25519"])
        kid = str(decoded.header["kid"])
        if len(self._remembered) >= _REMEMBERED:
            self._remembered = {}
        self._remembered[token] = kid, self._ours(kid), decoded.claims
        return decoded.claims

    def _key_of(self, token: GuestProtocol) -> OKPKey:
        """The key that a token says it is signed with; KeyError if it is none of ours."""
        return self._ours(str(token.headers()["kid"]))

    def _ours(self, kid: str) -> OKPKey:
        now = time.monotonic()
        if now - self._read_at > (_UNKNOWN if kid not in self._keys else _REREAD):
            self._read_at = now
            with suppress(OSError, ValueError):  # what can't be read leaves them as they were
                self._keys = dict(self._read())
        return self._keys[kid]


class AddressSigner:
    """Says of a client without a token from where it asks, in the gateway's name: the gateway alone
    has the key.
    """

    def __init__(self, key: OKPKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def sign(self, address: str, audience: str) -> str:
        """A token that says this address to one service, for a few seconds.

        An empty address says that it is not known.
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
    """Reads what the gateway says of a client's address, with the public keys of the gateway by
    their `kid`.
    """

    def __init__(
        self, keys: Callable[[], Mapping[str, OKPKey]], audience: str, clock: Clock
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._clock = clock

    def read(self, token: str, waited: float = 0.0) -> str | None:
        """The address; None if the gateway did not say so to this service, or longer ago.

        A call `waited` so many seconds in this service.
        """
        keys = self._keys()
        registry = jwt.JWTClaimsRegistry(
            now=cast("int", self._clock.now().timestamp() - waited),
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
