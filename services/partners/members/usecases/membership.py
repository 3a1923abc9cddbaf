"""Membership: applications, admission, evidence, the end of a membership, and expired data."""

import secrets
from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotFound
from chassis.guesses import Budget, Guesses
from chassis.ids import new_id
from chassis.local_time import latest_day
from chassis.rpc import Call
from facts import outbox
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from services.partners.members.domain.organization import (
    Organization,
    OrganizationStatus,
    RejectionReason,
)
from services.partners.members.domain.suspension import PROPOSAL
from services.partners.members.domain.worker import mailbox_of
from services.partners.members.store import applications, organizations, workers
from services.partners.members.usecases.independence import with_present_kin
from services.partners.members.usecases.notices import notify_all_managers
from services.partners.members.usecases.organizations import (
    Refresh,
    coordinator,
    lock,
    notify_managers,
    organization_message,
    save,
)
from services.partners.members.usecases.passwords import mark_of
from services.partners.members.wire import facts, messages

# A public form stores data and sends an e-mail. So only a few applications are accepted from one IP
# address, and only a few e-mails are sent to one mailbox. There is no overall limit, because
# anybody could use it up.
MAILBOX_BUDGET = Budget(3, timedelta(hours=1), timedelta(0))
ADDRESS_BUDGET = Budget(5, timedelta(hours=1), timedelta(0))
LINK_LIFE = timedelta(days=3)
ANSWER_PERIOD = timedelta(days=14)
_UNANSWERED_LIFE = timedelta(days=90)
_CONTACT_LIFE = timedelta(days=180)
_REJECTED_LIFE = timedelta(days=180)
_BATCH_SIZE = 200
_REFERENCE_CHARACTERS = (
    "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # without characters that look like other characters
)


class Membership:
    """Handles the rpcs for applications, admission, evidence and the end of a membership."""

    def __init__(self, keyring: Keyring, mail: Keyring, guesses: Guesses, refresh: Refresh) -> None:
        """Sets up the handlers.

        `mail` seals e-mails to applicants; `guesses` counts their applications.
        """
        self._keyring = keyring
        self._mail = mail
        self._guesses = guesses
        self._refresh = refresh

    def ApplyForMembership(
        self, request: pb.ApplyForMembershipRequest, call: Call
    ) -> pb.ApplyForMembershipResponse:
        """Sends the applicant an e-mail with a link; returns the reference of the application.

        Does not check whether the organisation is known. Raises Exhausted too_many_attempts if
        there were too many applications from the IP address or for the mailbox.
        """
        now, recipient = call.clock.now(), request.contact_email.strip()
        # only for its checks: raises Invalid if a field is wrong
        Organization.apply(new_id(), messages.applicant(request), now)
        self._guesses.count(mailbox_of(recipient), call.origin, now)
        id, token = new_id(), secrets.token_urlsafe(32)
        reference = "-".join(
            "".join(secrets.choice(_REFERENCE_CHARACTERS) for _ in range(4)) for _ in range(2)
        )
        applications.add_request(
            call.tx,
            self._keyring,
            id,
            mark_of(token),
            reference,
            request.SerializeToString(),
            now + LINK_LIFE,
            now,
        )
        letter = self._mail.seal_bytes(
            messages.application_letter(recipient, token, request.language),
            f"applications/{id}/letter",
        )
        outbox.save(call.tx, [facts.application_fact(id, letter, now + LINK_LIFE, now)])
        return pb.ApplyForMembershipResponse(
            reference=reference, answer_within_days=ANSWER_PERIOD.days
        )

    def ConfirmApplication(
        self, request: pb.ConfirmApplicationRequest, call: Call
    ) -> pb.ConfirmApplicationResponse:
        """Turns the request that belongs to a link into an application; returns the reference.

        Raises NotFound for a link that is not valid.
        """
        now = call.clock.now()
        reference_and_request = applications.take_request(
            call.tx, self._keyring, mark_of(request.token), now
        )
        if reference_and_request is None:
            raise NotFound
        reference, message = reference_and_request
        application = pb.ApplyForMembershipRequest.FromString(message)
        organization = Organization.apply(new_id(), messages.applicant(application), now)
        organizations.save(call.tx, organization)
        applications.add(
            call.tx,
            self._keyring,
            organization.id,
            messages.application_contact(application, reference, now),
        )
        return pb.ConfirmApplicationResponse(
            reference=reference, answer_within_days=ANSWER_PERIOD.days
        )

    def AdmitOrganization(
        self, request: pb.AdmitOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Admits an applicant on probation."""
        organization = lock(call, request.id, request.etag)
        organization.admit(call.clock.now(), call.caller.id)
        save(call, organization, self._refresh)
        call.trail.append(Entry("organization_admit", organization.id))
        return organization_message(organization, call)

    def RejectApplication(
        self, request: pb.RejectApplicationRequest, call: Call
    ) -> pb.Organization:
        """Rejects an applicant, and deletes the data about the contact person."""
        reason = messages.REJECTIONS.member(request.reason, "reason")
        if reason is None:
            raise Invalid(("reason", "required"))
        organization = lock(call, request.id, request.etag)
        before = organization.entry
        organization.reject(reason, call.clock.now())
        save(call, organization, self._refresh, before)
        applications.erase(call.tx, organization.id)
        call.trail.append(Entry("organization_reject", organization.id, detail_codes=(reason,)))
        return organization_message(organization, call)

    def RecordEvidence(self, request: pb.RecordEvidenceRequest, call: Call) -> pb.Organization:
        """Records evidence that the coordinators have seen."""
        now = call.clock.now()
        evidence = messages.evidence(request.evidence, call.caller.id, now)
        organization = lock(call, request.id, request.etag)
        by = with_present_kin(call.tx, call.caller, now)
        organization.record(evidence, now, messages.today_at(organization, now), by)
        save(call, organization, self._refresh)
        call.trail.append(
            Entry("organization_evidence", organization.id, detail_codes=(evidence.kind,))
        )
        return organization_message(organization, call)

    def LeaveOrganization(
        self, request: pb.LeaveOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Ends a membership.

        The member's own manager may do this alone. Otherwise it takes two coordinators, and the
        first coordinator's call only proposes the step. Raises Conflict for an organisation with a
        coordinator, because nobody might be left to run the network.
        """
        now, id = call.clock.now(), request.id
        organization = lock(call, id, request.etag)
        by = None if call.caller.organization_id == id else coordinator(call.tx, call.caller, now)
        organization.leave(now, by)
        save(call, organization, self._refresh)
        if workers.has_coordinator(call.tx, id):
            raise Conflict("illegal_transition")
        if organization.status is OrganizationStatus.LEFT:
            workers.end_sessions_of(call.tx, organization_id=id)
            applications.erase(call.tx, id)
            notify_all_managers(call.tx, self._mail, id, "member_left", now)
        call.trail.append(
            Entry(
                "organization_leave", id, detail_codes=("proposed",) if organization.leaving else ()
            )
        )
        return organization_message(organization, call)


def end_proposals(tx: Transaction, mail: Keyring, now: datetime, refresh: Refresh) -> int:
    """Ends holds and proposals to which no second coordinator agreed in time.

    Notifies managers whose access is restored. Returns how many organisations and accounts were
    changed.
    """
    changed_organizations = organizations.with_expired_proposal(tx, now, _BATCH_SIZE)
    for organization in changed_organizations:
        before = organization.stop
        organization.end_expired_proposals(now, messages.today_at(organization, now))
        organizations.save(tx, organization)
        if organization.stop != before:
            refresh(tx, organization.id)
        notify_managers(tx, mail, organization, before, now)
    return len(changed_organizations) + workers.drop_suspension_proposals(tx, now - PROPOSAL)


def enforce_deadlines(tx: Transaction, now: datetime, refresh: Refresh) -> int:
    """Enforces the deadlines of agreements and applications, and deletes expired data.

    Publishes warnings before an agreement ends, and rejects unanswered applications. Returns the
    number of changed rows.
    """
    change_count = 0
    for organization in organizations.with_agreement_ending(tx, latest_day(now), _BATCH_SIZE):
        before, warned = organization.status, organization.warned_days
        organization.warn_or_restart_probation(now, messages.today_at(organization, now))
        if (organization.status, organization.warned_days) == (before, warned):
            continue  # the day has not started yet in the organisation's time zone
        organizations.save(tx, organization)
        if organization.status is not before:
            refresh(tx, organization.id)
        change_count += 1
    for organization in organizations.unanswered_applicants(
        tx, now - _UNANSWERED_LIFE, _BATCH_SIZE
    ):
        organization.reject(RejectionReason.UNANSWERED, now)
        organizations.save(tx, organization)
        change_count += 1
    change_count += applications.forget_requests(tx, now)
    return (
        change_count
        + applications.forget(tx, now - _CONTACT_LIFE)
        + organizations.forget_rejected(tx, now - _REJECTED_LIFE)
    )
