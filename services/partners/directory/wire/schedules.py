"""Converts schedules between messages and the domain."""

from collections.abc import Iterable
from datetime import time

from chassis.errors import Invalid
from chassis.wire import EnumCodec
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.schedule import Frequency, Schedule
from services.partners.network.wire.days import day

_FREQUENCIES = EnumCodec(pb.Frequency, Frequency)


def schedules(messages: Iterable[pb.Schedule], at: str) -> tuple[Schedule, ...]:
    """Returns the schedules in a message.

    Raises Invalid with the path of a missing frequency, or of a date that is not valid.
    """
    return tuple(_schedule(message, f"{at}.{number}") for number, message in enumerate(messages))


def schedule(schedule: Schedule) -> pb.Schedule:
    """Returns a schedule as a message."""
    return pb.Schedule(
        freq=_FREQUENCIES.number(schedule.freq),
        byday=schedule.byday,
        opens_at=f"{schedule.opens_at:%H:%M}",
        closes_at=f"{schedule.closes_at:%H:%M}",
        valid_from=schedule.valid_from.isoformat() if schedule.valid_from else "",
        valid_to=schedule.valid_to.isoformat() if schedule.valid_to else "",
        holidays=schedule.holidays,
    )


def _schedule(message: pb.Schedule, at: str) -> Schedule:
    freq = _FREQUENCIES.member(message.freq, f"{at}.freq")
    if freq is None:
        raise Invalid((f"{at}.freq", "required"))
    return Schedule(
        freq=freq,
        byday=tuple(message.byday),
        opens_at=time.fromisoformat(message.opens_at),
        closes_at=time.fromisoformat(message.closes_at),
        valid_from=day(f"{at}.valid_from", message.valid_from),
        valid_to=day(f"{at}.valid_to", message.valid_to),
        holidays=message.holidays,
    )
