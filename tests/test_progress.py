"""Who waits for a run of the tests sees how far it is, at most now and then, and at its end."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import progress


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs tests (whether each fails) and gives the lines that were told; the clock stands."""
    monkeypatch.setattr("tests.progress.time.monotonic", lambda: 1_000.0)

    def run(failing: list[bool]) -> list[str]:
        ours, theirs = os.pipe()
        plugin = progress.Progress(theirs, "first half")
        plugin.pytest_collection_finish(cast(pytest.Session, SimpleNamespace(items=failing)))
        for fails in failing:
            plugin.pytest_runtest_logreport(cast(pytest.TestReport, SimpleNamespace(failed=fails)))
            plugin.pytest_runtest_logfinish()
        os.close(theirs)
        with os.fdopen(ours) as lines:
            return lines.read().splitlines()

    return run


def test_the_first_and_the_last_are_told_and_none_in_the_same_moment(told: Any) -> None:
    assert told([False] * 5) == ["first half: 1 of 5 tests", "first half: 5 of 5 tests"]


def test_failures_are_told(told: Any) -> None:
    assert told([False, True, True])[-1] == "first half: 3 of 3 tests, 2 failed"


def test_nobody_who_reads_is_no_failure() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    progress.Progress(theirs, "x").pytest_runtest_logfinish()
    os.close(theirs)


def test_what_tests_start_has_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the variable nor the descriptor, whose number is another file's there."""
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    monkeypatch.setenv(progress.VARIABLE, f"{theirs}:first half")
    plugins: list[object] = []
    config = SimpleNamespace(pluginmanager=SimpleNamespace(register=plugins.append))
    progress.pytest_configure(cast(pytest.Config, config))
    assert len(plugins) == 1
    assert progress.VARIABLE not in os.environ
    assert not os.get_inheritable(theirs)
    for descriptor in (ours, theirs):
        os.close(descriptor)
