"""Percentiles are nearest-rank, and only there where enough latencies stand behind them."""

from __future__ import annotations

import random

import pytest

from bench import percentiles


@pytest.mark.parametrize(
    ("percent", "expected"), [(0.1, 1), (1, 1), (1.1, 2), (50, 50), (90, 90), (99, 99), (99.1, 100), (100, 100)]
)
def test_of_one_to_a_hundred_the_percentile_is_the_number_itself(percent: float, expected: int) -> None:
    assert percentiles.percentile(range(1, 101), percent) == expected


def test_p99_9_of_a_thousand_is_the_999th() -> None:
    """99.9 / 100 * 1000 is more than 999 in binary fractions; the rank must not follow that."""
    assert percentiles.percentile(range(1, 1001), 99.9) == 999


def test_the_median_of_three_is_the_middle_one_and_of_four_the_second() -> None:
    assert percentiles.percentile([1, 5, 9], 50) == 5
    assert percentiles.percentile([1, 5, 9, 11], 50) == 5


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9])
def test_at_least_p_percent_are_no_larger_and_no_smaller_value_has_that(percent: float) -> None:
    """The definition itself, on numbers at random."""
    values = sorted(random.Random(3).expovariate(1) for _ in range(2_357))
    found = percentiles.percentile(values, percent)
    share = sum(value <= found for value in values) / len(values)
    share_below = sum(value < found for value in values) / len(values)
    assert share_below < percent / 100 <= share


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 101)])
def test_nonsense_is_refused(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError):
        percentiles.percentile(values, percent)


def test_a_summary_is_in_milliseconds_and_takes_any_order() -> None:
    summary = percentiles.summary_ms([0.003, 0.001, 0.002] * 400)
    assert summary == {"p50": 2.0, "p90": 3.0, "p99": 3.0, "p99.9": 3.0, "max": 3.0, "mean": pytest.approx(2.0)}


@pytest.mark.parametrize(
    ("count", "missing"),
    [
        (0, {"p50", "p90", "p99", "p99.9", "max", "mean"}),
        (1, {"p50", "p90", "p99", "p99.9"}),
        (9, {"p90", "p99", "p99.9"}),
        (10, {"p99", "p99.9"}),
        (100, {"p99.9"}),
        (1000, set()),
    ],
)
def test_a_percentile_without_enough_latencies_is_left_out(count: int, missing: set[str]) -> None:
    summary = percentiles.summary_ms([0.001] * count)
    assert {name for name, value in summary.items() if value is None} == missing


def test_a_median_over_rounds_needs_every_round() -> None:
    assert percentiles.median([3.0, 1.0, 2.0]) == 2.0
    assert percentiles.median([3.0, None, 2.0]) is None
    assert percentiles.median([]) is None


def test_spread_is_the_range_over_the_median() -> None:
    assert percentiles.spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert percentiles.spread([100.0]) is None


def test_the_coefficient_of_variation_is_the_samples_deviation_over_the_mean() -> None:
    assert percentiles.variation([9.0, 10.0, 11.0]) == pytest.approx(0.1)
    assert percentiles.variation([1.0]) is None
    assert percentiles.variation([0.0, 0.0]) is None
