"""bench/isolation.py with next to nothing to measure."""

from __future__ import annotations

import pytest

from bench import isolation


def test_a_short_run_has_a_row_for_each_number_of_connections(capsys: pytest.CaptureFixture[str]) -> None:
    status = isolation.main(["--connections", "1,2", "--calls", "4", "--rounds", "2"])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    rows = [line.split("|")[1].strip() for line in shown.out.splitlines() if line.startswith("| ")]
    assert rows == ["connections", "1", "2"]
