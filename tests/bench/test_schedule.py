"""The schedule of arrivals: fixed in advance, ascending, within the run, of the rate that was asked for."""

from __future__ import annotations

import itertools

import pytest

from bench import schedule


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    assert list(schedule.constant(4, 1.0)) == [0.0, 0.25, 0.5, 0.75]


def test_constant_arrivals_do_not_drift() -> None:
    """The n-th is n / rate, not the sum of n rounded gaps."""
    due = schedule.constant(3_000, 10.0)
    assert len(due) == 30_000
    assert due[29_999] == 29_999 / 3_000


def test_poisson_arrivals_have_the_rate_and_lie_within_the_run() -> None:
    due = schedule.poisson(1_000, 20.0, seed=7)
    assert len(due) == pytest.approx(20_000, rel=0.05)
    assert due[0] == 0.0
    assert due[-1] < 20.0
    assert all(one < other for one, other in itertools.pairwise(due))


def test_poisson_gaps_spread_as_an_exponential_does() -> None:
    """Mean and standard deviation of the gaps are equal; evenly spaced ones would have none."""
    due = schedule.poisson(1_000, 20.0, seed=7)
    gaps = [other - one for one, other in itertools.pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    first = schedule.arrivals("poisson", 100, 2.0, seed=1)
    assert first == schedule.arrivals("poisson", 100, 2.0, seed=1)
    assert first != schedule.arrivals("poisson", 100, 2.0, seed=2)


def test_even_the_slowest_schedule_has_one_request() -> None:
    assert list(schedule.arrivals("constant", 0.1, 1.0, seed=1)) == [0.0]


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1, 0)])
def test_a_schedule_of_nothing_is_refused(rate: int, seconds: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        schedule.arrivals("constant", rate, seconds, seed=1)
