"""A caller's quota: it is counted down, refilled steadily, and shared with nobody."""

from chassis.limits import WINDOW, Limiter


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_quota_counts_down_and_the_next_call_has_to_wait_for_its_turn() -> None:
    limiter = Limiter(10, Clock())
    assert [limiter.take("a").left for _ in range(10 * WINDOW)] == list(
        reversed(range(10 * WINDOW))
    )
    quota = limiter.take("a")
    assert (quota.left, round(quota.wait, 3), round(quota.reset, 3)) == (0, 0.1, WINDOW)


def test_a_refused_call_costs_nothing_and_the_quota_refills_with_time() -> None:
    clock = Clock()
    limiter = Limiter(10, clock)
    for _ in range(1000):
        limiter.take("a")
    clock.seconds += 0.25
    assert [bool(limiter.take("a").wait) for _ in range(4)] == [False, False, True, True]
    clock.seconds += WINDOW
    assert limiter.take("a").left == 10 * WINDOW - 1


def test_in_the_long_run_a_caller_gets_its_rate_and_no_more() -> None:
    clock = Clock()
    limiter = Limiter(10, clock)
    passed_count = 0
    for _ in range(60_000):  # a minute at a hundred times the rate
        passed_count += not limiter.take("a").wait
        clock.seconds += 0.001
    assert 10 * 60 < passed_count <= 10 * 60 + 10 * WINDOW


def test_another_caller_has_a_quota_of_its_own() -> None:
    limiter = Limiter(1, Clock())
    for _ in range(10):
        limiter.take("a")
    assert not limiter.take("b").wait


def test_idle_callers_are_forgotten_and_a_caller_at_its_limit_is_not() -> None:
    clock = Clock()
    limiter = Limiter(1, clock)
    for n in range(50_000):
        limiter.take(f"stranger {n}")
        clock.seconds += 0.0001
    assert len(vars(limiter)["_full_at"]) <= 20_001
    while not limiter.take("a").wait:
        pass
    for n in range(5_000):
        limiter.take(f"another {n}")
    assert limiter.take("a").wait
