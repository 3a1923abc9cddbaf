"""Figures."""

from collections.abc import Iterable

from chassis.ids import object_id
from chassis.rpc import Call
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.domain.figures import Question
from services.referrals.usecases import figures


class StatisticsServicer:
    """Counts only."""

    def GetPilotFigures(self, request: pb.GetPilotFiguresRequest, call: Call) -> pb.PilotFigures:
        """See the .proto."""
        counts = figures.pilot(call.tx)
        lists = {name: _figures(counts[name]) for name in ("by_country", "by_department", "by_month")}
        return pb.PilotFigures(
            assisted=counts["assisted"],
            from_chinandega=counts["from_chinandega"],
            period_start="2006-01",
            period_end="2006-10",
            by_need_group=_figures(counts["by_need"]),
            **lists,
        )

    def GetFigures(self, request: pb.GetFiguresRequest, call: Call) -> pb.Figures:
        question = Question(request.period, request.country, request.need_group_code)
        answer, until = figures.network(call.tx, call.clock.now(), question)
        return pb.Figures(
            counted_until=until,
            total=answer.total,
            by_quarter=_figures(answer.by_quarter),
            by_exploitation_country=_figures(answer.by_exploitation_country),
            by_country=_figures(answer.by_country),
            by_need_group=_figures(answer.by_need_group),
            routes=[pb.Route(exploitation_country=start, country=end, count=count) for (start, end), count in answer.routes],
            periods=answer.years,
            countries=answer.countries,
            need_group_codes=answer.need_groups,
        )

    def GetResponseTimes(self, request: pb.GetResponseTimesRequest, call: Call) -> pb.ResponseTimes:
        return pb.ResponseTimes(organizations=[pb.ResponseTime(**row) for row in figures.response_times(call.tx, call.clock.now())])

    def CountMemberWork(self, request: pb.CountMemberWorkRequest, call: Call) -> pb.MemberWork:
        return pb.MemberWork(**figures.of_member(call.tx, call.clock.now(), object_id(request.organization_id)))


def _figures(rows: Iterable[tuple[str, int]]) -> list[pb.Figure]:
    return [pb.Figure(code=code, count=count) for code, count in rows]
