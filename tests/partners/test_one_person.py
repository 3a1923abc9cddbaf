"""One cheating person with any number of accounts, mailboxes and keys.

Alone, she achieves only what one person may do, whichever rule of two people she tries to evade.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import grpc
import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.store import workers
from tests.partners.providers import confirm, propose
from tests.partners.scene import Scene, Stubs
from tests.partners.test_invitations import accept
from tests.partners.test_two_people import confirm as confirm_change
from tests.partners.test_two_people import propose as propose_change

OFFERED_ROLES = [
    *[contract_pb2.ROLE_MANAGER] * 3,
    contract_pb2.ROLE_COORDINATOR,
    contract_pb2.ROLE_AUDITOR,
]
STEPS = 60


@dataclass
class Cheat:
    """A cheating person's accounts, and her attempts.

    `succeeded` counts, by name, the attempts that were not refused.
    """

    scene: Scene
    random: Random
    shelter: Organization
    accounts: list[str]
    members: list[str]
    suspended: str  # a dishonest member that two coordinators have suspended
    held: str  # a dishonest member that a coordinator may suspend for a day
    invitations: list[m.Invitation] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    succeeded: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    holds: int = 0

    def step(self) -> None:
        """Tries something with one of her accounts."""
        self.steps += 1
        attempts: list[Callable[[Stubs], None]] = [
            self.invite,
            self.confirm_invitation,
            self.accept,
            self.make_key,
            self.confirm_key,
            self.transfer_key,
            self.register,
            self.approve,
            self.propose,
            self.confirm,
            self.propose_change,
            self.confirm_change,
            self.suspend,
            self.wait,
            self.suspend_member,
            self.hold_member,
            self.reinstate_member,
            self.make_member_leave,
        ]
        act = self.random.choice(attempts)
        with self.scene.database.transaction(SYSTEM) as tx:
            worker = workers.fetch(tx, self.random.choice(self.accounts))
        assert worker is not None
        try:
            act(self.scene.as_worker(worker))
        except grpc.RpcError:
            return
        self.succeeded[act.__name__] += 1

    def invite(self, by: Stubs) -> None:
        invitation = m.Invitation(
            email=f"{new_id()}@ejemplo.org",
            roles=[self.random.choice(OFFERED_ROLES)],
            organization_id=self.random.choice(["", "", "", self.members[0]]),
        )
        self.invitations.append(by.CreateInvitation(invitation=invitation))

    def confirm_invitation(self, by: Stubs) -> None:
        by.ConfirmInvitation(id=self.random.choice(self.invitations or [m.Invitation()]).id)

    def accept(self, _: Stubs) -> None:
        """Accepts an invitation: she reads every mailbox to which she sends one."""
        invitation = self.random.choice(
            [invitation for invitation in self.invitations if not invitation.unconfirmed] or [None]
        )
        if invitation is None:
            return
        accept(self.scene, invitation)
        (row,) = self.scene.rows("SELECT id FROM workers WHERE email = %s", invitation.email)
        self.accounts.append(row["id"])

    def make_key(self, by: Stubs) -> None:
        created = by.CreateApiKey(label="Sistema", scopes=[contract_pb2.SCOPE_PEOPLE_OPEN])
        self.keys.append(created.api_key.id)

    def confirm_key(self, by: Stubs) -> None:
        by.ConfirmApiKey(id=self.random.choice(self.keys or [""]))

    def transfer_key(self, by: Stubs) -> None:
        by.TransferApiKey(id=self.random.choice(self.keys or [""]))

    def register(self, by: Stubs) -> None:
        organization = d.Organization(name="Fachada", type=d.ORGANIZATION_TYPE_NGO, country="NI")
        created = by.CreateOrganization(organization=organization)
        self.members.append(created.id)
        self.scene.vet(created.id)

    def approve(self, by: Stubs) -> None:
        id = self.random.choice(self.members)
        by.ApproveOrganization(id=id, etag=by.GetOrganization(id=id).etag)

    def propose(self, by: Stubs) -> None:
        propose(by, self.shelter, "https://sso.example")

    def confirm(self, by: Stubs) -> None:
        confirm(by, by.GetSignInProvider(organization_id=self.shelter.id))

    def propose_change(self, by: Stubs) -> None:
        propose_change(by, by.GetOrganization(id=self.shelter.id), hotline_number="666")

    def confirm_change(self, by: Stubs) -> None:
        confirm_change(by, by.GetOrganization(id=self.shelter.id))

    def suspend(self, by: Stubs) -> None:
        rows = self.scene.rows(
            "SELECT id FROM workers WHERE 'COORDINATOR' = ANY(roles) ORDER BY email"
        )
        by.SuspendWorker(id=self.random.choice(rows)["id"])

    def suspend_member(self, by: Stubs) -> None:
        reason = self.random.choice([d.SUSPENSION_REASON_HARM, d.SUSPENSION_REASON_UNSPECIFIED])
        by.SuspendOrganization(
            id=self.shelter.id, etag=self._etag(by, self.shelter.id), reason=reason
        )

    def hold_member(self, by: Stubs) -> None:
        """Suspends a member for a day, which one person may do once in thirty days."""
        by.SuspendOrganization(
            id=self.held,
            etag=self._etag(by, self.held),
            reason=d.SUSPENSION_REASON_FRONT,
            hold=True,
        )
        self.holds += 1

    def reinstate_member(self, by: Stubs) -> None:
        id = self.random.choice([self.suspended, self.held])
        by.ReinstateOrganization(id=id, etag=self._etag(by, id))

    def make_member_leave(self, by: Stubs) -> None:
        by.LeaveOrganization(id=self.shelter.id, etag=self._etag(by, self.shelter.id))

    @staticmethod
    def _etag(by: Stubs, id: str) -> str:
        return str(by.GetOrganization(id=id).etag)

    def wait(self, _: Stubs) -> None:
        self.scene.sweep(hours=self.random.randint(1, 9))  # less than thirty days in total


@pytest.mark.parametrize("seed", range(8))
def test_one_cheating_person_never_counts_as_two_people(seed: int, scene: Scene) -> None:
    shelter = scene.organization("Casa Luna")
    other_coordinators = (
        scene.worker(scene.coalition, Role.COORDINATOR),
        scene.worker(scene.organization("Otra sede"), Role.COORDINATOR),
    )
    first_account = scene.worker(scene.coalition, Role.COORDINATOR, Role.MANAGER)
    # an account that she invited at a time when one coordinator was enough
    second_account = scene.worker(scene.coalition, Role.COORDINATOR)
    with scene.owner.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE account_origins SET inviter_id = %s WHERE worker_id = %s",
            (first_account.id, second_account.id),
        )
    cheat = Cheat(
        scene,
        Random(seed),
        shelter,
        [first_account.id, second_account.id],
        [scene.organization("Fachada", approved=False).id],
        suspended=scene.suspend(scene.organization("Suspendida").id).id,
        held=scene.organization("Vecina").id,
    )
    earlier_ids = {
        row["id"] for row in scene.rows("SELECT id FROM workers WHERE roles && '{COORDINATOR}'")
    }
    while cheat.steps < STEPS or len(cheat.accounts) < 3:
        cheat.step()
    network = scene.rows("SELECT id, status FROM workers WHERE roles && '{COORDINATOR,AUDITOR}'")
    assert {row["id"] for row in network} == {
        first_account.id,
        second_account.id,
        *(coordinator.id for coordinator in other_coordinators),
        *earlier_ids,
    }
    assert {row["status"] for row in network} == {"ACTIVE"}
    assert scene.rows("SELECT id FROM sign_in_providers WHERE issuer IS NOT NULL") == []
    assert scene.rows("SELECT id FROM organizations WHERE hotline_number <> ''") == []
    assert scene.rows("SELECT id FROM api_keys WHERE NOT unconfirmed") == []
    statuses = {
        row["id"]: row["status"] for row in scene.rows("SELECT id, status FROM organizations")
    }
    assert (statuses[shelter.id], statuses[cheat.suspended]) == ("APPROVED", "SUSPENDED")
    assert "APPROVED" not in {statuses[id] for id in cheat.members}
    assert cheat.holds <= 1
    scene.advance(days=1)
    cheat.wait(scene.coordinator)
    assert scene.rows("SELECT status FROM organizations WHERE id = %s", cheat.held) == [
        {"status": "APPROVED"}
    ]
    assert (
        not {"confirm", "confirm_change", "confirm_invitation", "confirm_key"}
        & cheat.succeeded.keys()
    )
    assert {
        "propose",
        "propose_change",
        "approve",
        "make_key",
        "suspend_member",
        "hold_member",
        "reinstate_member",
        "make_member_leave",
    } & cheat.succeeded.keys()
