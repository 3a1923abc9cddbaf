"""Who may open which page: one row for every route, deny by default.

A route without a row answers 404 to everybody and fails the tests. The services check every call again with the caller's own token; this
table only spares people the pages that could never work for them. What lies under /api/ is guarded by services.gateway.api itself.
"""

WORKER, OPERATOR, MANAGER, COORDINATOR, AUDITOR = "worker", "operator", "manager", "coordinator", "auditor"
EVERYONE = frozenset({WORKER, OPERATOR, MANAGER, COORDINATOR, AUDITOR})
CARE = frozenset({WORKER, OPERATOR, MANAGER})  # whoever works with people and referrals of an organisation
SENDERS = frozenset({WORKER, OPERATOR})
LINE = frozenset({OPERATOR})

# Pages that need no session. Nothing here may show what belongs to anybody.
PUBLIC = frozenset(
    {
        "static",
        "home.home",
        "home.icon",
        "home.robots",
        "signin.form",
        "signin.enter",
        "signin.leave",
        "signin.quick_exit",
        "my_referral.form",
        "my_referral.status",
        "my_referral.confirm",
        "my_referral.withdraw",
        "health.alive",
        "health.ready",
    }
)

ROLES: dict[str, frozenset[str]] = {
    "today.today": EVERYONE,
}
