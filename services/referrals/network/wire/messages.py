"""Translates urgencies and deadlines between the domain and the messages."""

from chassis.wire import EnumCodec, timestamp
from protos.referrals.v1 import referrals_pb2
from services.referrals.network.domain.deadline import Deadline, DeadlineKind, Urgency

URGENCIES = EnumCodec(referrals_pb2.Urgency, Urgency)


CLOCKS = EnumCodec(referrals_pb2.ClockKind, DeadlineKind)


def clock_message(clock: Deadline) -> referrals_pb2.Clock:
    """Returns a deadline as a message.

    A paused deadline is shown as stopped at the start of its pause, since nobody can be late while
    it is paused.
    """
    return referrals_pb2.Clock(
        kind=CLOCKS.number(clock.kind),
        start_time=timestamp(clock.start_time),
        due_time=timestamp(clock.due_time),
        stop_time=timestamp(clock.stop_time or clock.pause_time),
        fired_percent=clock.fired_percent,
    )
