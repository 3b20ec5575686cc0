"""Short jobs wait with the process: none is lost, none runs twice, none stands behind a long one for long."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.running import Project, RunningDaemon, running, wait_for

# What a call does is in its payload, so that a flow which has shown itself short turns out otherwise.
FLOW = """
import time

def handler(system, this, inputs):
    mode = inputs['json']['mode']
    this.log('ran')
    if mode == 'spin':
        end = time.monotonic() + 0.06
        while time.monotonic() < end:
            pass
    elif mode == 'loop':
        while True:
            pass
    elif mode == 'sleep':
        this.sleep(0.05)
    elif mode == 'fail':
        raise ValueError('as it was told')
    elif mode == 'bomb':
        x = [0] * 10**9
    return this.success(mode)
"""
STATUSES = {"short": 200, "spin": 200, "loop": 504, "sleep": 200, "fail": 500, "bomb": 500}


def test_every_call_runs_exactly_once_whatever_its_neighbours_do(project: Project) -> None:
    project.options(workers=1)
    path = project.endpoint("mixed", FLOW, timeout_s=0.4)
    choose = random.Random(7)
    modes = ["short"] * 200
    for mode, count in (("spin", 6), ("loop", 3), ("sleep", 12), ("fail", 6), ("bomb", 3)):
        modes += [mode] * count
    choose.shuffle(modes)
    modes = ["short"] * 100 + modes
    with running(project) as daemon:
        answers = _call_all(daemon, path, modes)
        workers = daemon.ask("status")["workers"]
        assert workers["handed"] > 50
        assert workers["taken_back"] > 0
        wrong = [(mode, answer.json["message"]) for mode, answer in answers if answer.status != STATUSES[mode]]
        assert not wrong
        for mode, answer in answers:
            log = daemon.ask("executions.logs", id=answer.json["id"])
            assert len(log) == 1, (mode, log, answer.json["message"])
            assert answer.json["attempts"] == 1
        executions = daemon.ask("status")["executions"]
        assert (executions["live"], executions["running"], executions["waiting"]) == (0, 0, 0)


def _call_all(daemon: RunningDaemon, path: str, modes: list[str]) -> list[tuple[str, Any]]:
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda mode: (mode, daemon.post(path, {"mode": mode})), modes))


def test_a_short_call_behind_a_long_one_is_answered_before_it(project: Project) -> None:
    project.options(workers=2)
    path = project.endpoint("mixed", FLOW)
    with running(project) as daemon, ThreadPoolExecutor(32) as pool:
        _call_all(daemon, path, ["short"] * 100)
        long = pool.submit(daemon.post, path, {"mode": "loop"})
        wait_for(lambda: daemon.ask("status")["executions"]["running"], "the long one")
        answers = list(pool.map(lambda _: daemon.post(path, {"mode": "short"}), range(60)))
        assert {answer.status for answer in answers} == {200}
        (running_still,) = daemon.ask("executions.list", status="RUNNING", limit=10)
        daemon.ask("executions.cancel", id=running_still["id"])
        assert long.result().json["id"] == running_still["id"]


def test_cancelling_one_that_waits_with_a_process_runs_nothing(project: Project) -> None:
    project.options(workers=1)
    path = project.endpoint("mixed", FLOW, timeout_s=30)
    with running(project) as daemon, ThreadPoolExecutor(32) as pool:
        _call_all(daemon, path, ["short"] * 100)
        accepted = [
            answer.json["id"]
            for answer in pool.map(lambda mode: daemon.post(path + "?async", {"mode": mode}), ["loop"] + ["short"] * 20)
        ]
        for execution_id in accepted:
            daemon.request("DELETE", f"/api/execution/acme/{execution_id}")
        for execution_id in accepted:
            daemon.wait_ended("acme", execution_id)
        assert daemon.post(path, {"mode": "short"}).status == 200
        executions = daemon.ask("status")["executions"]
        assert (executions["running"], executions["waiting"]) == (0, 0)
