"""`dedup` over two fronts: one step decides which delivery is the first, also while a front dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.running import Answer, Project, RunningDaemon, running, wait_for
from whd.fronts.partition import owner

from .test_edges import all_serve, connection_to, fronts

BY_ID = {"by": "header:X-Id"}
SLEEPER = """
def handler(system, this):
    this.sleep(float(this.get('input_value')['query'].get('s', 0)))
    return this.success('slept')
"""
PATH = "/api/webhook/acme/once"


@pytest.fixture
def daemon(project: Project) -> Iterator[RunningDaemon]:
    project.options(processes=2, max_queue=2, workers=4)
    project.endpoint("once", SLEEPER, dedup=BY_ID)
    project.endpoint("plain", SLEEPER)
    with running(project) as started:
        yield started


def send(daemon: RunningDaemon, connection: HTTPConnection, event: str, query: str = "") -> Answer:
    return daemon.request("POST", PATH + query, b"{}", connection=connection, headers={"X-Id": event})


def executions(daemon: RunningDaemon) -> list[Any]:
    found: list[Any] = daemon.ask("executions.list", client="acme", webhook="once", limit=1000)
    return found


@pytest.fixture
def both(daemon: RunningDaemon) -> Iterator[list[HTTPConnection]]:
    """A connection to each front, by number."""
    connections = [connection_to(daemon, number, "/api/webhook/acme/plain") for number in range(2)]
    yield connections
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("query", ["?s=0.05", "?s=0.05&async"])
def test_the_same_id_at_the_same_moment_in_both_is_one_execution(
    daemon: RunningDaemon, both: list[HTTPConnection], query: str
) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            event = f"{query}{number}"
            answers = list(pool.map(lambda each, event=event: send(daemon, each, event, query), both))
            assert {answer.status for answer in answers} == {202 if "async" in query else 200}
            assert len({answer.json["id"] for answer in answers}) == 1
            assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False, True]
    assert len(executions(daemon)) == 20


def test_a_repeat_in_the_other_front_gets_what_came_of_the_first(
    daemon: RunningDaemon, both: list[HTTPConnection]
) -> None:
    one, other = both
    first = send(daemon, one, "a")
    again = send(daemon, other, "a")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (200, first.body, "true")
    assert daemon.ask("status")["calls"]["replayed"] == 1


def test_a_front_that_dies_gives_free_what_it_had_not_recorded(
    daemon: RunningDaemon, both: list[HTTPConnection]
) -> None:
    one, other = both
    pid = fronts(daemon)[0]["pid"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, daemon, one, "a", "?s=30")
        wait_for(lambda: executions(daemon), "it runs")
        waiting = pool.submit(send, daemon, other, "a", "?s=0.1")
        os.kill(pid, signal.SIGKILL)
        assert first.exception() is not None
        answer = waiting.result()
    # It waited for the first, which ended as interrupted, or was lost with its front: then it ran.
    assert answer.status in (200, 500)
    again = send(daemon, other, "a")
    assert (again.status, owner(again.json["id"], 2)) == (200, 1)
    assert send(daemon, other, "a").json["id"] == again.json["id"]


def test_what_a_dead_front_had_accepted_runs_once_in_the_next(
    daemon: RunningDaemon, both: list[HTTPConnection]
) -> None:
    one, other = both
    first = send(daemon, one, "a", "?async&s=1")
    assert first.status == 202
    os.kill(fronts(daemon)[0]["pid"], signal.SIGKILL)
    again = send(daemon, other, "a")
    assert (again.status, again.json["id"], again.json["status"]) == (200, first.json["id"], "ENDED_SUCCESS")
    wait_for(lambda: all_serve(daemon), "both serve")
    assert len(executions(daemon)) == 1


def test_one_that_is_refused_for_want_of_room_leaves_its_id_free(
    daemon: RunningDaemon, both: list[HTTPConnection]
) -> None:
    _one, other = both
    refused = wait_for(
        lambda: next(
            (number for number in range(100) if send(daemon, other, f"e{number}", "?s=3&async").status == 503), None
        ),
        "the queue is full",
    )
    wait_for(lambda: daemon.ask("status")["executions"]["live"] == 0, "there is room", 60.0)
    answer = send(daemon, other, f"e{refused}")
    assert (answer.status, "idempotent-replayed" in answer.headers) == (200, False)
