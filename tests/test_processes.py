"""tests/processes.py: who gets the mark `process`, and what becomes of who starts one without it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from whd.executions.runner import Runner
from whd.pool.pool import Pool

from .processes import Map
from .running import ROOT, Project, running


def starts() -> None:
    subprocess.run(["true"], check=True)


def forks() -> None:
    os._exit(0) if os.fork() == 0 else None


class Helper:
    def leads_there(self) -> None:
        functools.partial(starts)()


def by_import() -> None:
    from tests.running import RunningDaemon

    RunningDaemon(Project(Path("/nowhere")))


def decorated(test: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        test()

    return run


def harmless() -> None:
    """Names what is of the same module, and reads of processes."""
    assert os.getpid()
    assert issubclass(subprocess.TimeoutExpired, Exception)


@pytest.mark.parametrize(
    "root", [starts, forks, Helper, by_import, decorated(starts), lambda: [Helper], running, Pool, [starts]]
)
def test_what_leads_to_a_start_is_found(root: object) -> None:
    assert Map().leads_to_a_start(root)


@pytest.mark.parametrize("root", [harmless, decorated(harmless), Runner, Map, len, 1])
def test_what_does_not_is_not(root: object) -> None:
    assert not Map().leads_to_a_start(root)


def test_one_map_answers_for_many_alike() -> None:
    """What it remembers of one question must not mislead it in the next."""
    one = Map()
    for _ in range(2):
        assert not one.leads_to_a_start(harmless)
        assert one.leads_to_a_start(Helper)
        assert one.leads_to_a_start(starts)


UNMARKED = """
import threading
import subprocess
by_text = getattr(subprocess, "run")

def test_quiet():
    pass

def test_direct():
    globals()["by_text"](["true"])

def test_swallowed():
    try:
        globals()["by_text"](["true"])
    except BaseException:
        pass
"""


def test_a_start_without_the_mark_fails_whatever_the_test_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_unmarked.py").write_text(UNMARKED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.processes", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "2 failed, 1 passed" in run.stdout, run.stdout
    assert run.stdout.count("a test without the mark `process` starts none") >= 2
