"""Refusals: typed exceptions, each with a stable reason that callers may rely on.

A refusal is an answer, not a fault: its reason may be shown, and nothing was changed, except in the
cases that Unavailable and Late describe. Reasons and field names are codes; a refusal never
contains the caller's data. chassis.refusals maps refusals to gRPC statuses; the gateway presents
refusals as problem+json or as pages.
"""


class Refusal(Exception):
    """Refuses a request. `reason` is a stable code, such as stale_etag."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unauthenticated(Refusal):
    """Refuses an unknown caller: the token is missing, invalid or expired, or a secret is wrong."""


class NotAllowed(Refusal):
    """Refuses a known caller whose role has no right to this action at all.

    If the caller lacks the right only for a particular object, raise NotFound instead.
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

    `about` lists what stands in the way: codes, names of fields, or keys of plan steps.
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
    """Refuses a request_id that was already used with another request."""

    def __init__(self) -> None:
        super().__init__("request_id_reused")


class Exhausted(Refusal):
    """Refuses a request because a limit is reached. `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unavailable(Refusal):
    """Refuses a request because this server, or one that it depends on, is unavailable or busy.

    Nothing was written, unless a connection broke or a deadline passed during the commit.
    The same request may be repeated. `cause`, for example pin_wrong, is for operators only; callers
    are told only the reason.
    """

    def __init__(self, reason: str, cause: str = "") -> None:
        super().__init__(reason)
        self.cause = cause


class Late(Refusal):
    """Refuses a request whose deadline has passed.

    Nothing was written, unless the deadline passed during the commit. The same request may be
    repeated.
    """

    def __init__(self) -> None:
        super().__init__("deadline_exceeded")
