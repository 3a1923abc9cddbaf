"""What one may ask of the directory and its members: one function, one transaction: fetch, ask, keep.

Each takes the transaction, who asks, and the time. An id may be given to what is created, by callers in this process only.
"""

from services.partners.store.candidates import Candidates
from services.partners.usecases.accounts import change_password, end_sessions, list_sessions
from services.partners.usecases.api_keys import confirm_api_key, create_api_key, list_api_keys, revoke_api_key, transfer_api_key
from services.partners.usecases.housekeeping import keeping_up, sweep
from services.partners.usecases.invitations import accept_invitation, create_invitation, list_invitations, revoke_invitation
from services.partners.usecases.organizations import (
    approve_organization,
    confirm_change,
    create_organization,
    drop_change,
    get_organization,
    has_manager,
    list_hotlines,
    list_organizations,
    propose_change,
    reinstate_organization,
    suspend_organization,
    update_organization,
)
from services.partners.usecases.services import (
    batch_get,
    create_service,
    doubt_capacity,
    get_service,
    leave_places,
    list_terms,
    match_services,
    search_services,
    set_capacity,
    take_places,
    update_service,
)
from services.partners.usecases.sessions import (
    OF_AN_ACCOUNT,
    OF_AN_ADDRESS,
    Proven,
    end_session,
    finish_sign_in,
    from_api_key,
    from_session,
    sign_in,
)
from services.partners.usecases.standing import check_standing
from services.partners.usecases.workers import create_worker, list_workers, suspend_worker

__all__ = [
    "OF_AN_ACCOUNT",
    "OF_AN_ADDRESS",
    "Candidates",
    "Proven",
    "accept_invitation",
    "approve_organization",
    "batch_get",
    "change_password",
    "check_standing",
    "confirm_api_key",
    "confirm_change",
    "create_api_key",
    "create_invitation",
    "create_organization",
    "create_service",
    "create_worker",
    "doubt_capacity",
    "drop_change",
    "end_session",
    "end_sessions",
    "finish_sign_in",
    "from_api_key",
    "from_session",
    "get_organization",
    "get_service",
    "has_manager",
    "keeping_up",
    "leave_places",
    "list_api_keys",
    "list_hotlines",
    "list_invitations",
    "list_organizations",
    "list_sessions",
    "list_terms",
    "list_workers",
    "match_services",
    "propose_change",
    "reinstate_organization",
    "revoke_api_key",
    "revoke_invitation",
    "search_services",
    "set_capacity",
    "sign_in",
    "suspend_organization",
    "suspend_worker",
    "sweep",
    "take_places",
    "transfer_api_key",
    "update_organization",
    "update_service",
]
