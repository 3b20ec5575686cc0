"""bench/check.py: what is a regression, what is noise, and what the committed baseline must hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import check

MORE = check.Ratio("throughput", 1, "answered_per_s", True)
LESS = check.Ratio("p50", 1, "p50", False)


@pytest.mark.parametrize(
    ("ratio", "rounds", "word"),
    [
        (MORE, [1.0, 1.02, 0.98, 1.0, 0.99], "ok"),
        (MORE, [0.8, 0.81, 0.79, 0.82, 0.8], "worse"),
        (MORE, [0.8, 0.81, 0.79, 1.3, 0.8], "too noisy to tell"),
        (MORE, [0.5, 1.0, 0.7, 1.4, 1.2], "too noisy to tell"),
        (MORE, [1.0, 0.4, 1.0, 1.0, 1.0], "ok"),
        (MORE, [1.3, 1.25, 1.4, 1.3, 1.35], "better"),
        (LESS, [1.3, 1.25, 1.4, 1.3, 1.35], "worse"),
        (LESS, [1.0, 1.01, 1.0, 0.99, 1.02], "ok"),
        (LESS, [0.7, 0.7, 0.7, 0.7, 0.7], "better"),
    ],
)
def test_a_verdict(ratio: check.Ratio, rounds: list[float], word: str) -> None:
    assert check.verdict(ratio, rounds, 1.0, 0.15) == word


def test_a_regression_fails_and_names_what_is_slower(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.conclude([(MORE, "worse"), (LESS, "ok")]) == 1
    assert "slower than the committed baseline: throughput" in capsys.readouterr().err


def test_noise_is_said_and_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.conclude([(MORE, "too noisy to tell"), (LESS, "ok")]) == 0
    assert "too noisy to tell: throughput" in capsys.readouterr().err


def test_the_committed_baseline_has_every_ratio() -> None:
    baseline = json.loads(check.BASELINE.read_text())
    assert set(baseline["ratios"]) == {ratio.name for ratio in check.RATIOS}
    assert all(value > 0 for value in baseline["ratios"].values())
    assert baseline["commit"]


def test_an_update_writes_a_baseline_that_the_next_run_is_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "b.json"
    options = ["--rounds", "1", "--seconds", "0.3", "--warm", "0.1", "--baseline", str(file)]
    assert check.main([*options, "--update"]) == 0
    assert check.main([*options, "--tolerance", "0.99"]) == 0
    assert "no regression seen" in capsys.readouterr().err
