"""The refusals that several test files expect: each is a status and a reason."""

ILLEGAL = ("FAILED_PRECONDITION", "illegal_transition")
KEY_INVALID = ("UNAUTHENTICATED", "key_invalid")
NOTHING_TO_CONFIRM = ("FAILED_PRECONDITION", "nothing_to_confirm")
NOT_ACTIVE = ("PERMISSION_DENIED", "organization_not_active")
NOT_INDEPENDENT = ("FAILED_PRECONDITION", "not_independent")
RIGHT_MISSING = ("PERMISSION_DENIED", "right_missing")
SECOND_PERSON = ("FAILED_PRECONDITION", "second_person_required")
SESSION_ENDED = ("UNAUTHENTICATED", "session_ended")
SIGN_IN_FAILED = ("UNAUTHENTICATED", "sign_in_failed")
STALE_ETAG = ("ABORTED", "stale_etag")
TOO_MANY_ATTEMPTS = ("RESOURCE_EXHAUSTED", "too_many_attempts")
UNAVAILABLE = ("UNAVAILABLE", "provider_unavailable")
