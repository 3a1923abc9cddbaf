"""/statistics: figures that are safe to publish."""

from marshmallow import Schema

from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.routes import Routes

statistics = Routes("statistics", "Figures that are safe to publish.", pb.DESCRIPTOR.services_by_name["Statistics"])


class FigureSchema(Schema):
    """One figure."""

    code = fields.code("Of what.", example="SV")
    count = fields.number("How many; -1: fewer than ten.", -1, example=-1)


class PilotFiguresSchema(Schema):
    """The pilot of 2006, counted from the data."""

    assisted = fields.number("People assisted.", example=26)
    from_chinandega = fields.number("Of them from Chinandega.", example=13)
    period_start = fields.code("First month.", example="2006-01")
    period_end = fields.code("Last month.", example="2006-10")
    by_country = fields.many(fields.part(FigureSchema, "A figure."), "By the country they had been taken to.")
    by_department = fields.many(fields.part(FigureSchema, "A figure."), "By department of origin.")
    by_need_group = fields.many(fields.part(FigureSchema, "A figure."), "People who got it, by group of need.")
    by_month = fields.many(fields.part(FigureSchema, "A figure."), "By month.")


statistics.rpc("GetPilotFigures", "Show the figures of the pilot", answers=PilotFiguresSchema)
