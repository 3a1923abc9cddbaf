"""Refusals: typed exceptions, each with a stable reason that callers may rely on.

A refusal is an answer, not a fault: its reason may be shown, and nothing was changed, except in the
cases that Unavailable and Late describe. Reasons and field names are codes; a refusal never
contains the caller's data. chassis.refusals maps refusals to gRPC statuses, the gateway maps them
to problem+json and to pages.
"""


class Refusal(Exception):
    """Refuses a request. `reason` is a stable lower-case word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unauthenticated(Refusal):
    """Refuses an unknown caller: the token is missing, invalid or expired, or a secret is wrong."""


class NotAllowed(Refusal):
    """Refuses a known caller whose role has no right to this action at all.

    Raise NotFound instead if the right is missing for a single object only.
    """


class NotFound(Refusal):
    """Refuses access to an object that does not exist, or that the caller may not see; the caller
    can't tell the two apart.
    """

    def __init__(self) -> None:
        super().__init__("not_found")


class Invalid(Refusal):
    """Refuses a malformed request.

    `violations` lists (field path, reason), with reasons such as required, unknown_code, too_short,
    too_long, out_of_range or malformed.
    """

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__("invalid_fields")
        self.violations = list(violations)


class Conflict(Refusal):
    """Refuses a valid request that the current state does not allow.

    `about` lists words of the contract that explain the obstacle.
    """

    def __init__(self, reason: str, *about: str) -> None:
        super().__init__(reason)
        self.about = about


class Stale(Refusal):
    """Refuses a change because somebody else changed the object first: the caller has to read it
    again and decide again.
    """

    def __init__(self) -> None:
        super().__init__("stale_etag")


class Reused(Refusal):
    """Refuses a request_id that was used with another request before."""

    def __init__(self) -> None:
        super().__init__("request_id_reused")


class Exhausted(Refusal):
    """Refuses a request because a limit is reached. `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unavailable(Refusal):
    """Refuses a request because a part that it needs is unavailable. Nothing was written, unless
    the connection to the database broke during the commit. The same request may be repeated.

    `why` tells operators which part is unavailable.
    """

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(reason)
        self.why = why


class Late(Refusal):
    """Refuses a request whose deadline has passed.

    Nothing was written, unless the deadline passed during the commit. The same request may be
    repeated.
    """

    def __init__(self) -> None:
        super().__init__("deadline_exceeded")
