"""bench/compare.py: a commit against itself, whose whd/ runs, and what counts as slower."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import compare, machine, report, runs, sheet, targets
from bench.progress import Progress
from bench.scaling.context import Context

IS_REPOSITORY = machine.commit(targets.ROOT)["commit"] is not None
needs_git = pytest.mark.skipif(not IS_REPOSITORY, reason="these files are in no repository")

COMMON = runs.Common(rounds=1, seconds=0.3, warm_s=0.1, pin=False, options=(), quick=True)


def cell(answered: float, cpu_us: float = 100.0, p50: float = 1.0, **changes: Any) -> report.Cell:
    return {
        "answered_per_s": answered,
        "server_cpu_s": cpu_us / 1e6 * 1000,
        "checked": 1000,
        "latency_ms": {"p50": p50},
        "generator_cpu": 0.4,
        **changes,
    }


def cells(base: list[report.Cell], this: list[report.Cell]) -> dict[int, dict[str, list[report.Cell]]]:
    return {16: {"base": base, "this": this}}


@pytest.mark.parametrize(
    ("throughput", "cpu", "met"),
    [
        (1.0, 1.0, True),
        (0.98, 1.5, True),
        (1.2, 0.8, True),
        (0.979, 1.03, False),
        (0.5, 2.0, False),
        (0.97, 1.0, None),
        (0.97, 1.02, None),
        (0.5, 0.9, None),
    ],
)
def test_slower_is_what_answers_less_and_costs_more(throughput: float, cpu: float, met: bool | None) -> None:
    """1 / 0.98 is 1.0204: what CPU per call must have grown beyond."""
    assert compare.verdict(throughput, cpu, 0.98) is met


def test_a_ratio_is_the_median_of_each_pairs_own() -> None:
    """The second pair was slow for both sides."""
    [throughput, cpu, p50] = compare.rows_of(
        cells([cell(1000), cell(500), cell(1000)], [cell(900, 110, 2), cell(450, 120, 3), cell(1100, 90, 4)])
    )
    assert throughput.ratios == pytest.approx([0.9, 0.9, 1.1])
    assert throughput.ratio == pytest.approx(0.9)
    assert (throughput.base, throughput.this) == (1000, 900)
    assert cpu.ratio == pytest.approx(1.1)
    assert p50.ratio == pytest.approx(3)


def test_the_verdict_is_on_the_median_over_the_connections() -> None:
    by_count = {
        count: {"base": [cell(1000)], "this": [cell(1000 * ratio, 100 / ratio)]}
        for count, ratio in ((1, 0.9), (16, 0.95), (64, 1.2))
    }
    section = compare.section_of("new", by_count, 0.98)
    assert [(goal.measured, goal.met) for goal in section.goals] == [("0.950 x, CPU per call 1.053 x", False)]
    assert len(section.table[1]) == 9


def test_a_base_that_varies_too_much_is_said_to_be_noise() -> None:
    quiet = compare.rows_of(cells([cell(1000), cell(1010)], [cell(1000), cell(1000)]))
    wild = compare.rows_of(cells([cell(1000), cell(1300)], [cell(1000), cell(1000)]))
    assert "vary by at most 0.7%" in compare.noise_text(quiet)
    assert "too noisy" not in compare.noise_text(quiet)
    assert compare.noise_text(wild).endswith("The machine was too noisy to tell: answered/s at 16.")


def test_one_pair_cannot_say_how_noisy_the_machine_was() -> None:
    assert "One pair" in compare.noise_text(compare.rows_of(cells([cell(1000)], [cell(1000)])))


def test_a_figure_without_enough_calls_is_not_reported() -> None:
    with pytest.raises(runs.BenchError, match=r"p50 ms, 16 connections: too few calls"):
        compare.rows_of(cells([cell(1000)], [cell(1000, latency_ms={"p50": None})]))


def test_where_the_generator_was_the_limit_is_said() -> None:
    assert compare.bound_text(cells([cell(1)], [cell(1)])) == ""
    assert "at 16 connections" in compare.bound_text(cells([cell(1)], [cell(1, generator_cpu=0.95)]))


@pytest.mark.parametrize(
    ("ratio", "cpu_us", "status", "said"),
    [
        (1.0, 100, 0, "not seen to be slower than v1"),
        (0.9, 120, 1, "slower than v1: heads new: 0.900 x, CPU per call 1.200 x"),
        (0.9, 100, 0, "heads new: cannot be told: fewer answers per second, yet no more CPU per call"),
    ],
)
def test_what_came_of_it_is_said_and_is_the_exit_status(
    ratio: float, cpu_us: int, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    section = compare.section_of("new", cells([cell(1000)], [cell(1000 * ratio, cpu_us)]), 0.98)
    assert compare.conclude("v1", [section]) == status
    assert said in capsys.readouterr().err


@needs_git
def test_a_commit_against_itself_prints_both_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    out = tmp_path / "r.json"
    arguments = "--base HEAD --pairs 2 --seconds 0.3 --warm 0.1 --connections 2 --at-least 0.01 --json".split()
    assert compare.main([*arguments, str(out)]) == 0
    text = capsys.readouterr().out
    assert "## The same head in each request" in text
    assert "## A new head in each request" in text
    assert text.count("| 2 | answered/s | more | ") == text.count("| 2 | CPU µs/call | less | ") == 2
    assert text.count(": met") == 2
    sections = {
        section["name"]: section["figures"]["cells"]["2"] for section in json.loads(out.read_text())["sections"]
    }
    for heads, sides in sections.items():
        for side in ("base", "this"):
            assert [each["heads"] for each in sides[side]] == [heads, heads]
            assert all(each["errors"] == {} and each["checked_in_full"] > 0 for each in sides[side])
    assert list(tmp_path.iterdir()) == [out], "the base's files are gone"


class Recorder(Context):
    """Notes whose turn it is instead of measuring."""

    def __init__(self, rounds: int) -> None:
        super().__init__(replace(COMMON, rounds=rounds), sheet.Noise(), Progress(1, io.StringIO()))
        self.turns: list[tuple[str, int, str]] = []

    def load(self, server: targets.Running, connections: int, **changes: Any) -> report.Cell:
        self.turns.append((server.target.name, connections, changes["heads"]))
        return {}


def test_the_sides_take_turns_and_the_first_one_changes_from_pair_to_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that neither of them always has the warmer machine."""
    monkeypatch.setattr(
        compare, "started", lambda side, common: contextlib.nullcontext(targets.Running(side.target, 0, 0, None))
    )
    sides = [compare.Side(targets.Target(name, name, "execution"), Path()) for name in ("base", "this")]
    recorder = Recorder(rounds=3)
    found = compare.measure(sides, (1, 64), recorder)
    one = [(1, "repeated"), (1, "new"), (64, "repeated"), (64, "new")]
    orders = (("base", "this"), ("this", "base"), ("base", "this"))
    assert recorder.turns == [(name, *what) for order in orders for what in one for name in order]
    assert all(
        len(found[heads][count][name]) == 3 for heads in compare.HEADS for count in (1, 64) for name in orders[0]
    )


@needs_git
def test_the_base_is_its_own_whd_and_nothing_else() -> None:
    with compare.exported(compare.commit_of("HEAD")) as folder:
        assert [entry.name for entry in folder.iterdir()] == ["whd"]
        side = compare.Side(targets.Target("base", "the base", "execution"), folder)
        with compare.started(side, COMMON) as server:
            assert server.target is side.target
    assert not folder.exists()


def test_a_daemon_that_runs_another_whd_than_its_own_is_not_measured(tmp_path: Path) -> None:
    """As it would with nothing but an editable whd to be found."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(targets.ROOT)!r})\n")
    side = compare.Side(targets.Target("base", "the base", "execution"), tmp_path.resolve())
    with (
        pytest.raises(targets.TargetError, match=f"the base runs {targets.ROOT}/whd, not {tmp_path.resolve()}/whd"),
        compare.started(side, COMMON),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--base"),
        (["--base", "no-such-commit"], "no commit 'no-such-commit' here"),
        (["--base", "--output=x"], "--base"),
        (["--base", "HEAD", "--pairs", "0"], "--pairs: 1 to"),
        (["--base", "HEAD", "--seconds", "0"], "--seconds"),
        (["--base", "HEAD", "--connections", ""], "--connections: numbers"),
        (["--base", "HEAD", "--at-least", "0"], "--at-least: above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(arguments)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err
