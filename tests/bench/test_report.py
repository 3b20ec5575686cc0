"""The report: medians, ratios of the same round, noise in a word; tables and a page that say what was measured."""

from __future__ import annotations

import html.parser
import json
from typing import Any

import pytest

from bench import page, report


def cell(answered: float, p50: float = 1.0, **changes: Any) -> report.Cell:
    latency = {"p50": p50, "p90": p50 * 2, "p99": p50 * 5, "p99.9": p50 * 9, "max": p50 * 10, "mean": p50}
    return {
        "connections": 64,
        "offered_per_s": None,
        "answered_per_s": answered,
        "latency_ms": latency,
        "measured": 1000,
        "checked": 1200,
        "saturated": False,
        "errors": {},
        "send_lag_ms": {"p99": 0.01},
        "generator_cpu": 0.4,
        "server_cpu_s": 0.12,
        "steal": 0.0,
        "others_cores": 0.0,
        **changes,
    }


def results() -> report.Results:
    opened = {"offered_per_s": 700.0}
    return {
        "whd": {
            "closed": {"64": [cell(1000, 2.0), cell(1100, 2.2), cell(600, 4.0)]},
            "open": {
                "0.7": [cell(700, 1.5, **opened), cell(700, 1.4, saturated=True, **opened), cell(690, 9, **opened)]
            },
        },
        "worker": {
            "closed": {"64": [cell(2000, 1.0), cell(2000, 1.0), cell(1000, 2.0)]},
            "open": {"0.7": [cell(700, 1.0, **opened)] * 3},
        },
        "raw": {"closed": {"64": [cell(90_000, 0.1, generator_cpu=0.99)] * 3}, "open": {}},
    }


@pytest.fixture
def built() -> dict[str, Any]:
    about = {
        "title": "A </script> & test",
        "at": "2026-01-01T00:00:00+00:00",
        "commit": {"commit": "abc123", "dirty": True},
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "cores_allowed": [0, 1],
            "virtual": True,
            "kernel": "Linux 6.1",
            "python": "CPython 3.11.7",
            "libraries": {"uvloop": "0.23.0", "h11": "0.16.0", "PyYAML": None},
            "load_average": 0.1,
        },
        "settings": {
            "rounds": 3,
            "seconds": 4.0,
            "warm_s": 1.0,
            "arrivals": "poisson",
            "pin": True,
            "server_cpu": 0,
            "load_cpu": 1,
            "options": "",
        },
        "titles": {"whd": "whd", "worker": "floor: h11 + one warm worker", "raw": "floor: raw uvloop"},
    }
    return report.build(results(), ["worker", "raw"], about)


def row(built: dict[str, Any], loop: str, target: str) -> dict[str, Any]:
    return next(row for row in built[loop] if row["target"] == target)


def test_figures_are_medians_over_the_rounds(built: dict[str, Any]) -> None:
    whd = row(built, "closed", "whd")
    assert whd["answered_per_s"] == 1000
    assert whd["latency_ms"]["p50"] == 2.2
    assert whd["server_cpu_us"] == pytest.approx(100)
    assert built["maximum_per_s"]["whd"] == 1000


def test_a_ratio_is_the_median_of_the_rounds_own_ratios(built: dict[str, Any]) -> None:
    """The third round was slow for both sides: its ratio, 0.6, is one of three, and not 600 / 2000."""
    whd = row(built, "closed", "whd")
    assert whd["ratio"]["worker"]["answered_per_s"] == pytest.approx(0.55)
    assert whd["ratio"]["worker"]["p50"] == pytest.approx(2.0)
    assert "worker" not in row(built, "closed", "worker")["ratio"]


def test_the_maximum_is_that_of_the_connections_that_the_open_loop_uses() -> None:
    assert report.maximum_per_s({"16": [cell(900)], "64": [cell(700)], "1": [cell(100)]}) == 700


def test_the_markdown_says_where_and_on_what(built: dict[str, Any]) -> None:
    text = report.markdown(built, "worker")
    for part in ("abc123 with uncommitted changes", "A CPU", "uvloop 0.23.0", "3 interleaved rounds", "CPU 0"):
        assert part in text
    assert "PyYAML" not in text


def test_the_markdown_has_the_figures_and_the_ratios(built: dict[str, Any]) -> None:
    lines = report.markdown(built, "worker").splitlines()
    throughput = next(line for line in lines if line.startswith("| whd | 1,000 "))
    assert "| 0.55 |" in throughput
    latency = next(line for line in lines if line.startswith("| whd | 70% "))
    assert "| 700 | 700 | 1.50 |" in latency
    assert latency.endswith("| 0 | saturated in 1 of 3 |")
    against = next(line for line in lines if line.startswith("| floor: h11 + one warm worker | 0.55 "))
    assert against


def test_a_figure_that_the_load_generator_bounded_is_marked(built: dict[str, Any]) -> None:
    lines = report.markdown(built, "worker").splitlines()
    assert any(line.startswith("| floor: raw uvloop | 90,000* ") for line in lines)
    assert any(line.endswith("| generator-bound |") for line in lines)


def test_every_table_has_the_same_number_of_columns_in_each_line(built: dict[str, Any]) -> None:
    for heading, _, (head, lines) in report.tables(built, "worker"):
        assert lines, heading
        assert {len(line) for line in lines} == {len(head)}, heading


@pytest.mark.parametrize(
    ("changes", "spread", "word"),
    [
        ({}, 0.01, "quiet"),
        ({}, None, "quiet"),
        ({"steal": 0.01}, 0.01, "fair"),
        ({"steal": 0.10}, 0.01, "noisy"),
        ({"others_cores": 0.1}, 0.01, "fair"),
        ({"others_cores": 0.8}, 0.01, "noisy"),
        ({}, 0.30, "noisy"),
    ],
)
def test_noise_is_said_in_a_word(changes: dict[str, Any], spread: float | None, word: str) -> None:
    assert report.noise([cell(1, **changes)], [{"spread": spread}])["word"] == word


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0456, "0.046"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_milliseconds_have_three_digits_that_mean_something(value: float | None, text: str) -> None:
    assert report.ms(value) == text


class Outline(html.parser.HTMLParser):
    """Which elements open and close, and what they refer to."""

    VOID = frozenset({"meta", "line", "rect", "circle", "polyline", "i"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_needs_nothing_else_and_carries_the_report(built: dict[str, Any]) -> None:
    text = page.page(built, "worker")
    outline = Outline()
    outline.feed(text)
    outline.close()
    assert outline.open == []
    assert outline.links == []
    assert "http" not in text.replace("http://www.w3.org", "")
    assert outline.seen.count("svg") == 4
    assert "prefers-color-scheme: dark" in text
    assert text.count("offered requests per second") == 3
    assert "requests per second</text>" in text
    embedded = text.partition('id="report">')[2].partition("</script>")[0]
    assert json.loads(embedded) == json.loads(json.dumps(built))


def test_a_percentile_that_no_target_has_leaves_a_note_instead_of_a_chart(built: dict[str, Any]) -> None:
    for opened in built["open"]:
        opened["latency_ms"]["p99.9"] = None
    assert "Too few requests" in page.curves(built, dict.fromkeys(built["titles"], "red"), "p99.9")


def test_ticks_surround_the_values() -> None:
    assert page.linear_ticks(93_000) == [0, 20_000, 40_000, 60_000, 80_000, 100_000]
    assert page.linear_ticks(0) == [0, 1]
    assert page.log_ticks(0.03, 250) == [0.01, 0.1, 1, 10, 100, 1000]
    assert page.log_ticks(3, 40) == [2, 5, 10, 20, 50]
    assert page.log_ticks(10, 10)[0] == 10
