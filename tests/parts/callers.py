"""Callers for whom tests issue tokens themselves, without a sign-in."""

from dataclasses import replace

from chassis.tokens import Caller, Issuer


def just_proved(caller: Caller, issuer: Issuer) -> Caller:
    """Returns a worker with a proof of identity from just now, as after a sign-in.

    Other callers, and workers whose proof the test has dated, are returned unchanged.
    """
    return (
        caller
        if caller.prove_time or caller.kind != "worker"
        else replace(caller, prove_time=issuer._clock.now())
    )
