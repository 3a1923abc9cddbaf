"""The ways of saying no: typed refusals, each with a stable reason word that callers may rely on.

A refusal is an answer, not a fault: nothing was changed, and saying why is safe. Reasons and field
names are codes; a refusal never carries what the caller sent. How each sounds outside is said once,
in chassis.refusals (gRPC) and in the gateway (problem+json, page).
"""


class Refusal(Exception):
    """Something was asked that is not done. `reason` is a stable lower-case word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unauthenticated(Refusal):
    """It is not known who asks: no token, a wrong or expired one, or a wrong secret."""


class NotAllowed(Refusal):
    """It is known who asks, and the role has no right to this at all.

    For a single object say NotFound instead.
    """


class NotFound(Refusal):
    """It does not exist, or it is not yours: the two look the same."""

    def __init__(self) -> None:
        super().__init__("not_found")


class Invalid(Refusal):
    """The request itself is wrong.

    `violations` lists (field path, reason): required, unknown_code, too_long, out_of_range,
    malformed.
    """

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__("invalid_fields")
        self.violations = list(violations)


class Conflict(Refusal):
    """The request is right, but not in the state in which things are.

    `about` are words of the contract that say what stands in its way.
    """

    def __init__(self, reason: str, *about: str) -> None:
        super().__init__(reason)
        self.about = about


class Stale(Refusal):
    """Somebody else changed it first: read again and decide anew."""

    def __init__(self) -> None:
        super().__init__("stale_etag")


class Reused(Refusal):
    """The same request_id came before with another body."""

    def __init__(self) -> None:
        super().__init__("request_id_reused")


class Exhausted(Refusal):
    """Too much for now. `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unavailable(Refusal):
    """A part that is needed is away; nothing was written; the same request may be sent again.

    `why` is for operations: what of it is away.
    """

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(reason)
        self.why = why


class Late(Refusal):
    """The time that the caller gave is over.

    What was written is unknown only if it ran out during the commit: the same request may be sent
    again.
    """

    def __init__(self) -> None:
        super().__init__("deadline_exceeded")
