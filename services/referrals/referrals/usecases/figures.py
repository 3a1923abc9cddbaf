"""Handles the rpcs for statistics: figures safe to publish, and figures for coordinators."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from chassis.db import Transaction, elevate_to_system_scope
from chassis.ids import object_id
from chassis.locks import advisory_lock
from chassis.rpc import Call
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.counts import FEW, SMALLEST, round_up, time_step_of
from services.referrals.referrals.domain.figures import (
    Question,
    answer,
    end_of,
    last_settled_quarter,
    published_cells,
)
from services.referrals.referrals.store import figures

PILOT_START = datetime(2006, 1, 1, tzinfo=UTC)
PILOT_END = datetime(2006, 11, 1, tzinfo=UTC)
EARLIEST_TIME = datetime(1970, 1, 1, tzinfo=UTC)

RESPONSE_PERIOD = timedelta(days=30)
"""The period that response times cover; it is short, so that they describe the present."""


class Statistics:
    """Handles the rpcs for statistics, one method per rpc. No rpc returns data about one person."""

    def GetPilotFigures(self, request: pb.GetPilotFiguresRequest, call: Call) -> pb.PilotFigures:
        """Returns the pilot's figures, counted from the files: January to October 2006."""
        return pilot(call.tx)

    def GetFigures(self, request: pb.GetFiguresRequest, call: Call) -> pb.Figures:
        """Returns the published figures that the question asks for.

        The first call after a quarter has settled counts that quarter.
        """
        tx = call.tx
        now = call.clock.now()
        question = Question(request.period, request.country, request.need_group_code)
        question.check()
        if figures.counted_until(tx) < last_settled_quarter(now):
            _count(tx, now)
        until = figures.counted_until(tx)
        counts = answer(figures.stored_cells(tx), until, question)
        return pb.Figures(
            counted_until=until,
            total=counts.total,
            by_quarter=_figures(counts.by_quarter),
            by_exploitation_country=_figures(counts.by_exploitation_country),
            by_country=_figures(counts.by_country),
            by_need_group=_figures(counts.by_need_group),
            routes=[
                pb.Route(exploitation_country=start, country=end, count=count)
                for (start, end), count in counts.routes
            ],
            periods=counts.years,
            countries=counts.countries,
            need_group_codes=counts.need_groups,
        )

    def GetResponseTimes(self, request: pb.GetResponseTimesRequest, call: Call) -> pb.ResponseTimes:
        """Returns how soon each organisation answered recent referrals.

        The slowest come first; organisations that answered no referral come last.
        """
        elevate_to_system_scope(call.tx)
        rows = figures.response_times(call.tx, call.clock.now() - RESPONSE_PERIOD)
        return pb.ResponseTimes(organizations=[pb.ResponseTime(**row) for row in rows])

    def CountMemberWork(self, request: pb.CountMemberWorkRequest, call: Call) -> pb.MemberWork:
        """Counts the open work of a member.

        Counts of files and plans are rounded up to a multiple of five, and taken as of the start of
        the present six-hour interval.
        """
        organization_id, now = object_id(request.organization_id), call.clock.now()
        elevate_to_system_scope(call.tx)
        counts = figures.count_open_work(
            call.tx, organization_id, now + timedelta(days=1), time_step_of(now)
        )
        rounded_counts = {name: round_up(counts[name]) for name in ("most_people", "most_plans")}
        return pb.MemberWork(**counts | rounded_counts)


def pilot(tx: Transaction) -> pb.PilotFigures:
    """Returns the pilot's figures.

    `assisted` and `from_chinandega` were published by IOM, so they are always returned. Any other
    count below SMALLEST is withheld.
    """
    elevate_to_system_scope(tx)
    counts = figures.count_assisted(tx, PILOT_START, PILOT_END)
    return pb.PilotFigures(
        assisted=counts["assisted"],
        from_chinandega=counts["by_department"].get("NI-CI", 0),
        period_start="2006-01",
        period_end="2006-10",
        by_country=_published_figures(counts["by_country"]),
        by_department=_published_figures(counts["by_department"]),
        by_month=_published_figures(counts["by_month"]),
        by_need_group=_published_figures(counts["by_need"]),
    )


def _count(tx: Transaction, now: datetime) -> None:
    """Counts the quarters that have settled since the last count, each once; stores the figures.

    A second call at the same time waits, and finds the count done.
    """
    advisory_lock(tx, "figures")
    counted_until, until = figures.counted_until(tx), last_settled_quarter(now)
    if counted_until < until:
        elevate_to_system_scope(tx)
        counts = figures.count_completed(
            tx, end_of(counted_until) if counted_until else EARLIEST_TIME, end_of(until)
        )
        figures.save(tx, published_cells(counts), until, now)


def _published_figures(counts: dict[str, int]) -> list[pb.Figure]:
    return _figures(
        (code, count if count >= SMALLEST else FEW)
        for code, count in sorted(counts.items())
        if code and count
    )


def _figures(rows: Iterable[tuple[str, int]]) -> list[pb.Figure]:
    return [pb.Figure(code=code, count=count) for code, count in rows]
