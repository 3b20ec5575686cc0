"""state/ vanishes under a running daemon, with one process and with several: no promise that the next start breaks."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, wait_for
from whd.errors import StateError

SAVE_FLOW = """
def handler(system, this):
    system.setting('app.saved').save(value=1)
    return this.success('saved')
"""


def another(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def all_deleted(state: Path) -> None:
    for entry in state.iterdir():
        entry.unlink()


DEEDS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda state: (state / "executions.sqlite").unlink(),
    "another in its place": lambda state: another(state / "executions.sqlite"),
    "no WAL": lambda state: (state / "executions.sqlite-wal").unlink(),
    "all deleted": all_deleted,
    "the folder moved": lambda state: state.rename(state.with_name("elsewhere")),
    "the folder deleted": shutil.rmtree,
}


@pytest.fixture(params=[1, 2], ids=["one process", "two fronts"])
def served(request: pytest.FixtureRequest, project: Project) -> Project:
    project.options(processes=request.param)
    project.users("acme", {"kevin": {"flows": ["*"], "settings": {"write": ["*"]}}})
    return project


def status(daemon: RunningDaemon, path: str) -> int:
    return daemon.get(path).status


def is_not_ready(daemon: RunningDaemon) -> bool:
    return status(daemon, "/readyz") == 503


def told(daemon: RunningDaemon) -> str:
    """What `whd status` prints of it: the faults of its document, or why nobody answers."""
    try:
        document = daemon.ask("status")
    except StateError as error:
        return str(error)
    return json.dumps([document["store"]["fault"], document["saved"]["fault"]])


@pytest.mark.parametrize("deed", DEEDS)
def test_async_is_refused_within_a_second_and_sync_goes_on(served: Project, deed: str) -> None:
    path = served.endpoint("echo")
    with running(served) as daemon:
        assert status(daemon, f"{path}?async") == 202
        DEEDS[deed](served.state)
        gone = time.monotonic()
        wait_for(partial(is_not_ready, daemon), "the daemon to notice")
        assert time.monotonic() - gone < 1.5
        for _ in range(4):
            refused = daemon.get(f"{path}?async")
            assert (refused.status, refused.json["code"]) == (503, "overloaded")
            assert str(served.state) not in refused.body.decode()
            assert status(daemon, path) == 200
        assert str(served.state) not in daemon.get("/readyz").body.decode()
        for words in ("executions.sqlite", "restart whd", "sync calls go on"):
            assert words in daemon.log
        if "folder" not in deed:
            wait_for(lambda: "executions.sqlite" in told(daemon), "the status to name it")
        else:
            assert "was deleted or moved away under it" in told(daemon)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_what_a_flow_saves_is_there_at_the_next_start_or_was_refused(served: Project, suffix: str) -> None:
    path = served.endpoint("save", SAVE_FLOW)
    with running(served) as daemon:
        (served.state / f"saved.sqlite{suffix}").unlink()
        assert daemon.get(path).json["status"] == "ENDED_ERROR"
        wait_for(partial(is_not_ready, daemon), "the daemon to notice")
        assert "saved.sqlite" in told(daemon)


def test_no_202_for_what_the_next_start_does_not_find(project: Project) -> None:
    """The store is deleted while calls come in: each id of a 202 is answered after the restart, or was of before."""
    path = project.endpoint("echo")
    answers: list[tuple[float, Any]] = []
    with running(project) as daemon, contextlib.closing(daemon.connect()) as connection:
        for number in range(300):
            if number == 150:
                (project.state / "executions.sqlite").unlink()
                gone = time.monotonic()
            answers.append((time.monotonic(), daemon.get(f"{path}?async", connection=connection).status))
    assert {status for sent, status in answers if sent < gone} == {202}
    assert {status for sent, status in answers if sent > gone} == {503}
    with running(project) as daemon:
        assert status(daemon, "/readyz") == 200, "a restart is the way out"
        assert status(daemon, f"{path}?async") == 202
