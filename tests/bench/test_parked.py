"""bench/parked.py with next to nothing to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import parked


def test_a_short_run_answers_every_caller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "parked.json"
    status = parked.main(["--calls", "3", "--seconds", "0.2", "--rounds", "1", "--no-memory", "--json", str(file)])
    assert status == 0, capsys.readouterr().err
    assert "| 3 |" in capsys.readouterr().out
    assert json.loads(file.read_text())
