"""bench/sync_wait.py as a user runs it: its options, a short run against floors, and runs that it refuses to report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import load, sync_wait, targets

SCRIPT = targets.ROOT / "bench" / "sync_wait.py"


def settings(*arguments: str) -> sync_wait.Settings:
    return sync_wait.settings_of(sync_wait.parser().parse_args(arguments))


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, check=False
    )


def test_by_default_all_is_measured_in_three_rounds() -> None:
    default = settings()
    assert [target.name for target in default.targets] == ["whd", "raw", "h11", "worker", "fork"]
    assert (default.rounds, default.connections) == (3, (1, 16, 64))
    assert default.rates == (0.1, 0.3, 0.5, 0.7, 0.9)
    assert default.cells == 3 * 5 * 8


def test_quick_takes_under_a_minute() -> None:
    assert settings("--quick").estimate_s < 60


def test_quick_can_be_made_quicker() -> None:
    chosen = settings("--quick", "--rates", "", "--connections", "4")
    assert (chosen.rates, chosen.connections, chosen.rounds) == ((), (4,), 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--only", "whd,node"),
        ("--rounds", "0"),
        ("--rounds", "51"),
        ("--seconds", "0.1"),
        ("--warm", "-1"),
        ("--connections", "0"),
        ("--connections", ""),
        ("--connections", "10001"),
        ("--rates", "0"),
        ("--rates", "501"),
        ("--option", "processes"),
        ("--rounds", "50", "--seconds", "3600"),
    ],
)
def test_what_cannot_be_measured_is_refused_naming_the_option(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=f"{arguments[0]}|more than this measures"):
        settings(*arguments)


@pytest.mark.parametrize(
    "arguments", [("--rate", "0"), ("--rate", "1e9"), ("--connections", "0"), ("--seconds", "0"), ("--seconds", "4000")]
)
def test_the_load_generator_is_bounded_too(arguments: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=arguments[0]):
        load.plan_of(load.parser().parse_args(["http://127.0.0.1:1/x", *arguments]))


def test_a_short_run_prints_a_table_and_writes_json_and_a_page(tmp_path: Path) -> None:
    """From another folder than the checkout's, so nothing depends on where it is called."""
    options = (
        "--only h11,worker --rounds 1 --seconds 0.3 --warm 0.1 --connections 2 --rates 50 --json r.json --html r.html"
    )
    pin = ["--pin"] if len(os.sched_getaffinity(0)) > 1 else []
    done = command(*options.split(), *pin, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| floor: h11 + one warm worker |" in done.stdout
    assert "\r" not in done.stderr, "a bar belongs on a terminal only"
    report = json.loads((tmp_path / "r.json").read_text())
    assert [row["target"] for row in report["closed"]] == ["h11", "worker"]
    assert [row["share_of_maximum"] for row in report["open"]] == [0.5, 0.5]
    assert all(row["errors"] == 0 and row["measured"] > 0 for row in report["closed"] + report["open"])
    assert report["closed"][0]["ratio"]["worker"]["answered_per_s"] > 0
    assert report["commit"].keys() == {"commit", "dirty"}
    assert report["machine"]["libraries"]["uvloop"]
    assert "<svg" in (tmp_path / "r.html").read_text()


def test_a_run_with_errors_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The fixed answer is no execution: each is an error, and no table may come of it."""
    unfit = targets.Target("raw", "raw as if it were whd", "execution")
    monkeypatch.setattr(targets, "verify", lambda server: None)
    monkeypatch.setattr(targets, "TARGETS", (unfit,))
    page = tmp_path / "r.html"
    status = sync_wait.main(
        ["--rounds", "1", "--seconds", "0.2", "--warm", "0", "--connections", "1", "--rates", "", "--html", str(page)]
    )
    out, err = capsys.readouterr()
    assert status == 1
    assert out == ""
    assert "not reported: raw as if it were whd, 1 connections: " in err
    assert "x wrong answer" in err
    assert not page.exists()


def test_usage_is_told_apart_from_failure() -> None:
    done = command("--only", "nothing")
    assert done.returncode == 2
    assert "--only" in done.stderr


def test_help_names_every_target_and_option() -> None:
    done = command("--help")
    assert done.returncode == 0
    for word in ("whd", "raw", "h11", "worker", "fork", "--pin", "--quick", "--json", "--html", "--rates"):
        assert word in done.stdout
