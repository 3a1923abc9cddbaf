"""Callers for whom tests issue tokens themselves, without a sign-in."""

from dataclasses import replace

from chassis.tokens import Caller, Issuer


def just_proved(caller: Caller, issuer: Issuer) -> Caller:
    """A worker who has just proved who she is, as at a sign-in, unless the test says when she did.

    Everybody else as she is.
    """
    return (
        caller
        if caller.prove_time or caller.kind != "worker"
        else replace(caller, prove_time=issuer._clock.now())
    )
