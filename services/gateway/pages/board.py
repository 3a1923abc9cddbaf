"""The coordinator's board: what is late, what will be, what is asked for and where. Codes and counts of the whole network, never a name."""

from flask import Blueprint, render_template

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access, names, session
from services.gateway.clients import clients
from services.gateway.i18n import N_
from services.gateway.pages.today import came_back, chosen

blueprint = Blueprint("board", __name__)

# Nicaragua's departments as tiles, roughly where they lie: column, row, and a name that fits.
TILES = {
    "NI-MD": (1, 0, "Madriz"), "NI-NS": (2, 0, "N. Segovia"), "NI-JI": (3, 0, "Jinotega"), "NI-AN": (4, 0, "Caribe N."),
    "NI-CI": (0, 1, "Chinandega"), "NI-ES": (1, 1, "Estelí"), "NI-MT": (2, 1, "Matagalpa"), "NI-BO": (3, 1, "Boaco"),
    "NI-AS": (4, 1, "Caribe S."), "NI-LE": (0, 2, "León"), "NI-MN": (1, 2, "Managua"), "NI-MS": (2, 2, "Masaya"),
    "NI-CO": (3, 2, "Chontales"), "NI-SJ": (4, 2, "San Juan"), "NI-CA": (1, 3, "Carazo"), "NI-GR": (2, 3, "Granada"),
    "NI-RI": (3, 3, "Rivas"),
}  # fmt: skip


@blueprint.get("/board")
@access.open_to(access.NETWORK, navigation=N_("Tablero"), section="network")
def board() -> str:
    """The page."""
    counts, live, unmet = (
        clients().referrals.CountReferrals(r.CountReferralsRequest(filter=wanted))
        for wanted in (
            r.ReferralFilter(box=r.BOX_NETWORK),
            r.ReferralFilter(box=r.BOX_NETWORK, live=True),
            r.ReferralFilter(box=r.BOX_NETWORK, unanswered=True),
        )
    )
    late, soon, refused = listed(chosen("late", r.BOX_NETWORK)), listed(chosen("soon", r.BOX_NETWORK)), came_back(r.BOX_NETWORK)
    probation = (
        clients()
        .directory.ListOrganizations(d.ListOrganizationsRequest(page_size=20, status=d.ORGANIZATION_STATUS_PROBATION))
        .organizations
    )
    return render_template(
        "board.html",
        counts=counts,
        late=late,
        soon=soon,
        refused=refused,
        live=live.total,
        unmet=unmet.total,
        probation=probation,
        names=names.names_of([*late, *soon, *refused]),
        groups=sorted(counts.live_by_need_group.items(), key=lambda item: (-item[1], item[0])),
        departments=sorted(counts.live_by_department.items(), key=lambda item: (-item[1], item[0])),
        tiles=TILES,
        own=session.me(),
    )


def listed(wanted: r.ReferralFilter | None) -> list[r.Referral]:
    """The first fifty behind one of the numbers."""
    return list(clients().referrals.ListReferrals(r.ListReferralsRequest(filter=wanted, page_size=50)).referrals)
