"""Members: invitations, the accounts of an organisation's workers and the keys of its systems."""

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.ids import is_id
from chassis.rpc import Call
from chassis.wire import PageTokens, moment, page_size, word, word_list
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners import usecases, wire
from services.partners.domain.invitation import Invitation
from services.partners.domain.sign_in_provider import ProviderEntry, SignInProvider
from services.partners.wire.sign_in_providers import sign_in_provider


class Members:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, mail: Keyring, pages: PageTokens, providers: usecases.SignInProviders, paper_url: str) -> None:
        """`mail` seals letters. With `paper_url` the network sends none, and links on paper begin with it."""
        self._mail = mail
        self._paper_url = paper_url
        self._pages = pages
        self._providers = providers

    def CreateInvitation(self, request: pb.CreateInvitationRequest, call: Call) -> pb.Invitation:
        given, letter_key = request.invitation, None if self._paper_url else self._mail
        invitation, token = usecases.create_invitation(
            call.tx, call.caller, call.clock.now(), letter_key, given.organization_id, wire.invitation_entry(given)
        )
        on_paper = ("on_paper",) if token else ()
        call.trail.append(Entry("invitation_create", invitation.id, detail_codes=(*invitation.entry.roles, *on_paper)))
        return self._made(invitation, token)

    def _made(self, invitation: Invitation, token: str) -> pb.Invitation:
        made = wire.invitation(invitation)
        if token:
            made.link = f"{self._paper_url}/invitation#{token}"
        return made

    def ConfirmInvitation(self, request: pb.ConfirmInvitationRequest, call: Call) -> pb.Invitation:
        letter_key = None if self._paper_url else self._mail
        invitation, token = usecases.confirm_invitation(call.tx, call.caller, call.clock.now(), letter_key, request.id)
        call.trail.append(Entry("invitation_confirm", invitation.id, detail_codes=invitation.entry.roles))
        return self._made(invitation, token)

    def ListNetworkRoles(self, request: pb.ListNetworkRolesRequest, call: Call) -> pb.ListNetworkRolesResponse:
        return pb.ListNetworkRolesResponse(
            workers=[wire.worker(one) for one in usecases.list_network_roles(call.tx)],
            invitations=[wire.invitation(one) for one in usecases.waiting_invitations(call.tx, call.clock.now())],
        )

    def ListInvitations(self, request: pb.ListInvitationsRequest, call: Call) -> pb.ListInvitationsResponse:
        invitations = usecases.list_invitations(call.tx, call.caller, call.clock.now())
        return pb.ListInvitationsResponse(invitations=[wire.invitation(one) for one in invitations])

    def RevokeInvitation(self, request: pb.RevokeInvitationRequest, call: Call) -> pb.Invitation:
        invitation = usecases.revoke_invitation(call.tx, call.caller, call.clock.now(), request.id)
        call.trail.append(Entry("invitation_revoke", invitation.id))
        return wire.invitation(invitation)

    def AcceptInvitation(self, request: pb.AcceptInvitationRequest, call: Call) -> pb.AcceptInvitationResponse:
        if not request.token:
            raise Invalid(("token", "required"))
        now = call.clock.now()
        invitation, worker = usecases.accept_invitation(
            call.tx, now, request.token, request.name.strip(), request.password, call.origin.device
        )
        call.trail += [Entry("invitation_accept", invitation.id), Entry("worker_create", worker.id, detail_codes=worker.entry.roles)]
        return pb.AcceptInvitationResponse()

    def ListWorkers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        workers, more = usecases.list_workers(call.tx, call.caller, size, after)
        return pb.ListWorkersResponse(workers=[wire.worker(one) for one in workers], next_page_token=self._pages.token(request, more))

    def SuspendWorker(self, request: pb.SuspendWorkerRequest, call: Call) -> pb.Worker:
        worker = usecases.suspend_worker(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        reason = word(pb.WorkerSuspensionReason, request.reason, "reason")
        proposed = ("proposed",) if worker.suspension_proposed_by_worker_id else ()
        call.trail.append(Entry("worker_suspend", worker.id, detail_codes=(*((reason,) if reason else ()), *proposed)))
        return wire.worker(worker)

    def ResetSecondFactor(self, request: pb.ResetSecondFactorRequest, call: Call) -> pb.ResetSecondFactorResponse:
        call.trail.append(Entry("second_factor_reset", request.id if is_id(request.id) else ""))
        usecases.reset_second_factor(call.tx, call.caller, call.clock.now(), self._mail, request.id)
        return pb.ResetSecondFactorResponse()

    def CreateApiKey(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        expire_time, scopes = moment(request, "expire_time"), word_list(contract_pb2.Scope, request.scopes, "scopes")
        key, secret = usecases.create_api_key(
            call.tx, call.caller, call.clock.now(), request.organization_id, request.label.strip(), scopes, expire_time
        )
        call.trail.append(Entry("api_key_create", key.id, detail_codes=key.entry.scopes))
        return pb.CreateApiKeyResponse(api_key=wire.api_key(key), secret=secret)

    def ListApiKeys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        return pb.ListApiKeysResponse(api_keys=[wire.api_key(key) for key in usecases.list_api_keys(call.tx, call.caller)])

    def ConfirmApiKey(self, request: pb.ConfirmApiKeyRequest, call: Call) -> pb.ApiKey:
        key = usecases.confirm_api_key(call.tx, call.caller, call.clock.now(), request.id)
        call.trail.append(Entry("api_key_confirm", key.id, detail_codes=key.entry.scopes))
        return wire.api_key(key)

    def TransferApiKey(self, request: pb.TransferApiKeyRequest, call: Call) -> pb.ApiKey:
        key = usecases.transfer_api_key(call.tx, call.caller, call.clock.now(), request.id)
        call.trail.append(Entry("api_key_transfer", key.id))
        return wire.api_key(key)

    def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.ApiKey:
        key = usecases.revoke_api_key(call.tx, call.caller, call.clock.now(), request.id)
        call.trail.append(Entry("api_key_revoke", key.id))
        return wire.api_key(key)

    def GetSignInProvider(self, request: pb.GetSignInProviderRequest, call: Call) -> pb.SignInProvider:
        return self._provider(self._providers.get(call.tx, request.organization_id))

    def ProposeSignInProvider(self, request: pb.ProposeSignInProviderRequest, call: Call) -> pb.SignInProvider:
        given = request.provider
        entry = ProviderEntry(given.issuer.strip(), given.client_id.strip())
        provider = self._providers.propose(
            call.tx,
            call.caller,
            call.clock.now(),
            self._mail,
            request.organization_id,
            request.etag,
            entry,
            request.client_secret.strip(),
        )
        call.trail.append(Entry("sign_in_provider_propose", provider.organization_id))
        return self._provider(provider)

    def ConfirmSignInProvider(self, request: pb.ConfirmSignInProviderRequest, call: Call) -> pb.SignInProvider:
        call.trail.append(Entry("sign_in_provider_confirm", request.organization_id))
        return self._provider(self._providers.confirm(call.tx, call.caller, call.clock.now(), request.organization_id, request.etag))

    def ObjectToSignInProvider(self, request: pb.ObjectToSignInProviderRequest, call: Call) -> pb.ObjectToSignInProviderResponse:
        call.trail.append(Entry("sign_in_provider_object", call.caller.organization_id))
        self._providers.object(call.tx, call.caller)
        return pb.ObjectToSignInProviderResponse()

    def EndSignInProvider(self, request: pb.EndSignInProviderRequest, call: Call) -> pb.SignInProvider:
        call.trail.append(Entry("sign_in_provider_end", request.organization_id))
        return self._provider(self._providers.end(call.tx, call.caller, call.clock.now(), request.organization_id, request.etag))

    def _provider(self, provider: SignInProvider) -> pb.SignInProvider:
        said = sign_in_provider(provider)
        said.redirect_uri, said.sign_in_url = self._providers.redirect_uri, self._providers.link(provider)
        return said
