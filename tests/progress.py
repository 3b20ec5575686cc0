"""How far a run of the tests is, for who waits for one whose output comes only at its end (`make test`).

Lines go to the descriptor that the variable names, which the Makefile opened: pytest's own streams lead elsewhere then.
"""

from __future__ import annotations

import contextlib
import os
import time

import pytest

INTERVAL_S = 10.0
# number:name, as in 9:first half
VARIABLE = "WHD_TEST_PROGRESS"


def pytest_configure(config: pytest.Config) -> None:
    # Taken away: what tests start has something else under that number.
    number, _, name = os.environ.pop(VARIABLE, "").partition(":")
    if number:
        os.set_inheritable(int(number), False)
        config.pluginmanager.register(Progress(int(number), name))


class Progress:
    """Tells now and then how many tests have run."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._run = self._failed = self._all = 0
        self._next = 0.0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._all = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed += report.failed

    def pytest_runtest_logfinish(self) -> None:
        self._run += 1
        now = time.monotonic()
        if now < self._next and self._run < self._all:
            return
        self._next = now + INTERVAL_S
        failed = f", {self._failed} failed" if self._failed else ""
        with contextlib.suppress(OSError):  # nobody reads any more
            os.write(self._descriptor, f"{self._name}: {self._run} of {self._all} tests{failed}\n".encode())
