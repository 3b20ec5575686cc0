"""bench/profile.py: every listed step is there, its clocks take themselves off, and a short run gives a table."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import profile, profiled, runs, targets
from bench.progress import Progress


def test_a_step_that_is_gone_is_named() -> None:
    with pytest.raises(LookupError, match=r"step 'a dream': there is no whd\.wire:dream any more"):
        profiled.install((profiled.Step("a dream", "whd.wire:dream"),), profiled.Clock())


def test_a_steps_time_is_its_own() -> None:
    clock = profiled.Clock()
    inner = clock.wrap("inner", lambda: sum(range(200_000)))
    outer = clock.wrap("outer", lambda: inner() and None)
    outer()
    own = clock.own()
    assert own["inner"]["calls"] == own["outer"]["calls"] == 1
    assert own["outer"]["own_us"] < own["inner"]["own_us"], "what inner took is not outer's"


def test_an_exception_passes_through_and_is_timed() -> None:
    clock = profiled.Clock()
    with pytest.raises(ZeroDivisionError):
        clock.wrap("fails", lambda: 1 // 0)()
    assert clock.own()["fails"]["calls"] == 1


def test_a_workers_executions_pass_every_step(tmp_path: Path) -> None:
    out = tmp_path / "steps.json"
    command = [sys.executable, str(targets.ROOT / "bench" / "profiled.py"), str(out), "--worker", "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    steps = json.loads(out.read_text())
    assert {step.where: steps[step.where]["calls"] >= 50 for step in profiled.WORKER} == dict.fromkeys(steps, True)


def test_a_short_run_gives_all_tables() -> None:
    common = runs.Common(rounds=1, seconds=0.5, warm_s=0.2, pin=False, options=(), quick=True)
    document = profile.measure(common, 4, Progress(1, io.StringIO()))
    by_name = {section["name"]: section for section in document["sections"]}
    assert list(by_name) == ["daemon", "worker", "cpu", "system_calls"]
    steps = by_name["daemon"]["figures"]["rounds"][0]
    unused = [step.where for step in profiled.DAEMON if not steps[step.where]["calls"]]
    assert unused == [], "a listed step that no call passes is no step"
    assert by_name["cpu"]["figures"]["daemon user"] > 0


def test_the_table_of_strace_is_read_per_call() -> None:
    text = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           3       200           read
 30.00    0.000300           3       100         5 write
 10.00    0.000100           3         1           mmap
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           3       301         5 total
"""
    assert profile.read_strace(text, 200) == {"read": 1.0, "write": 0.5}
