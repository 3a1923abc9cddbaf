"""The messages of an organisation's sign-in provider."""

from chassis.wire import etag, timestamp
from protos.partners.v1 import members_pb2 as pb
from services.partners.sign_in.domain.sign_in_provider import SignInProvider


def sign_in_provider(provider: SignInProvider) -> pb.SignInProvider:
    """Returns an organisation's provider as a message, without its secret."""
    entry, proposal = provider.entry, provider.proposal
    proposal_message = None
    if proposal is not None:
        proposal_message = pb.ProposedSignInProvider(
            issuer=proposal.entry.issuer,
            client_id=proposal.entry.client_id,
            worker_id=proposal.worker_id,
            time=timestamp(proposal.time),
        )
    return pb.SignInProvider(
        provider_id=provider.id,
        organization_id=provider.organization_id,
        etag=etag(provider.version),
        issuer=entry.issuer if entry else "",
        client_id=entry.client_id if entry else "",
        confirm_time=timestamp(provider.confirm_time),
        proposal=proposal_message,
    )
