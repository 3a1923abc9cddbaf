"""Who may open which page: one row for every route, deny by default.

A route without a row answers 404 to everybody and fails the tests. The services check every call again with the caller's own token; this
table only spares people the pages that could never work for them. What lies under /api/ is guarded by services.gateway.api itself.
"""

WORKER, OPERATOR, MANAGER, COORDINATOR, AUDITOR = "worker", "operator", "manager", "coordinator", "auditor"
EVERYONE = frozenset({WORKER, OPERATOR, MANAGER, COORDINATOR, AUDITOR})
CARE = frozenset({WORKER, OPERATOR, MANAGER})  # whoever works with people and referrals of an organisation
SENDERS = frozenset({WORKER, OPERATOR})
LINE = frozenset({OPERATOR})
MANAGERS = frozenset({MANAGER})
NETWORK = frozenset({COORDINATOR})

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
        "invitation.form",
        "invitation.accept",
        "my_referral.form",
        "my_referral.status",
        "my_referral.confirm",
        "my_referral.withdraw",
        "health.alive",
        "health.ready",
        "health.status",
    }
)

ROLES: dict[str, frozenset[str]] = {
    "today.today": EVERYONE,
    "line.queue": LINE,
    "line.new": LINE,
    "line.create": LINE,
    "line.show": LINE,
    "line.save": LINE,
    "referral.listing": EVERYONE,
    "referral.show": EVERYONE,
    "referral.act": CARE | {COORDINATOR},
    "referral.open_person": CARE,
    "referral_new.person": SENDERS,
    "referral_new.create": SENDERS,
    "referral_new.resume": SENDERS,
    "referral_new.reroute": SENDERS,
    "referral_new.need": SENDERS,
    "referral_new.services": SENDERS,
    "referral_new.consent": SENDERS,
    "referral_new.check": SENDERS,
    "people.listing": SENDERS,
    "people.new": SENDERS,
    "people.show": SENDERS,
    "people.open_identity": SENDERS,
    "people.update": SENDERS,
    "people.safe_contact": SENDERS,
    "people.receipt": SENDERS,
    "people.withdraw": SENDERS,
    "people.confirm": SENDERS,
    "directory.search": EVERYONE,
    "directory.results": EVERYONE,
    "directory.organization": EVERYONE,
    "directory.vet": NETWORK,
    "directory.members": NETWORK,
    "directory.capacity": CARE,
    "board.board": NETWORK,
    "figures.figures": EVERYONE,
    "inbox.inbox": CARE | {COORDINATOR},
    "inbox.read": CARE | {COORDINATOR},
    "inbox.desk": MANAGERS,
    "members.listing": MANAGERS,
    "members.invite": MANAGERS,
    "members.revoke_invitation": MANAGERS,
    "members.suspend": MANAGERS,
    "members.create_key": MANAGERS,
    "members.revoke": MANAGERS,
    "members.confirm_key": MANAGERS,
    "members.transfer_key": MANAGERS,
    "webhooks.listing": MANAGERS,
    "webhooks.create": MANAGERS,
    "webhooks.show": MANAGERS,
    "webhooks.test": MANAGERS,
    "webhooks.switch": MANAGERS,
    "webhooks.remove": MANAGERS,
    "webhooks.resend": MANAGERS,
    "outbox.mails": EVERYONE,
}
