"""Fronts at their edges: stopped while one is down, one that is down while commands come, processes that vanish."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from whd.fronts.partition import owner

from ..running import Project, RunningDaemon, running, wait_for
from .shapes import shape, shape_of_one_process

SLEEPER = """
def handler(system, this):
    this.sleep(this.get('input_value')['json']['s'])
    return this.success('slept')
"""

GATED = """
def handler(system, this):
    this.sleep(system.setting('app.seconds').get('value'))
    return this.success('through')
"""


def fronts(daemon: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.ask("status")["fronts"]
    return found


def all_serve(daemon: RunningDaemon) -> bool:
    return all(front["state"] == "serving" for front in fronts(daemon))


def connection_to(daemon: RunningDaemon, number: int, path: str) -> http.client.HTTPConnection:
    """A connection that front `number` serves, as the ids of what it runs tell; the others stay open meanwhile."""
    kept = []
    while True:
        connection = daemon.connect(90.0)
        kept.append(connection)
        if owner(daemon.request("POST", path, {}, connection=connection).json["id"], 2) == number:
            for other in kept[:-1]:
                other.close()
            return connection


def stop(pid: int) -> None:
    """Stops a process, so that it neither serves nor ends."""
    os.kill(pid, signal.SIGSTOP)


def test_sigterm_while_a_front_is_down_does_not_wait_for_another_one(project: Project) -> None:
    project.options(processes=2, drain_s=3600)
    with running(project) as daemon:
        os.kill(fronts(daemon)[0]["pid"], signal.SIGKILL)
        wait_for(lambda: fronts(daemon)[0]["state"] == "down", "front 0 to be down")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
    assert "stopped" in daemon.log


def test_commands_answer_while_a_front_is_being_replaced(project: Project) -> None:
    project.options(processes=2)
    path = project.endpoint("sleeper", SLEEPER)
    with running(project) as daemon:
        location = daemon.request("POST", f"{path}?async", {"s": 600}).headers["location"]
        execution_id = location.rpartition("/")[2]
        victim = fronts(daemon)[owner(execution_id, 2)]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_for(lambda: fronts(daemon)[victim["number"]]["pid"] != victim["pid"], "the front's end")
        while not all_serve(daemon):
            # Every answer while it is down or starts: from what is on disk, or from where it runs again.
            assert [row["id"] for row in daemon.ask("executions.list")] == [execution_id]
            assert daemon.ask("executions.show", id=execution_id)["status"] in ("PENDING", "RUNNING")
            assert daemon.get(location).json["status"] in ("PENDING", "RUNNING")
        wait_for(lambda: daemon.get(location).json["status"] == "RUNNING", "it runs again")
        assert daemon.request("DELETE", location).json["status"] == "ENDED_CANCELLED"


def test_a_cancel_that_comes_while_its_front_is_down_reaches_the_next_one(project: Project) -> None:
    project.options(processes=2)
    path = project.endpoint("sleeper", SLEEPER)
    with running(project) as daemon:
        location = daemon.request("POST", f"{path}?async", {"s": 600}).headers["location"]
        victim = fronts(daemon)[owner(location, 2)]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_for(lambda: fronts(daemon)[victim["number"]]["pid"] != victim["pid"], "the front's end")
        assert daemon.request("DELETE", location).json["status"] == "ENDED_CANCELLED"


def test_status_and_list_answer_while_no_front_serves(project: Project) -> None:
    project.options(processes=2)
    path = project.endpoint("echo")
    with running(project) as daemon:
        assert daemon.request("POST", path, {}).status == 200
        wait_for(lambda: daemon.ask("status")["store"]["written"] == 1, "the record to be with the hub")
        for front in fronts(daemon):
            os.kill(front["pid"], signal.SIGKILL)
        wait_for(lambda: not any(front["state"] == "serving" for front in fronts(daemon)), "no front to serve")
        assert len(daemon.ask("executions.list")) == 1
        assert shape(daemon.ask("status")) == shape_of_one_process()
        # A call that comes now waits for a front and is answered.
        assert daemon.request("POST", path, {}).status == 200


def test_a_wait_for_the_other_fronts_execution_outlives_that_front(project: Project) -> None:
    project.options(processes=2)
    echo = project.endpoint("echo")
    project.setting("acme", "app.seconds", 600)
    path = project.endpoint("gated", GATED)
    with running(project) as daemon:
        location = daemon.request("POST", f"{path}?async", {}).headers["location"]
        number = owner(location, 2)
        connection = connection_to(daemon, 1 - number, echo)
        answers: list[Any] = []
        waiter = threading.Thread(
            target=lambda: answers.append(daemon.get(f"{location}?wait=60", connection=connection).json["status"])
        )
        wait_for(lambda: daemon.get(location).json["status"] == "RUNNING", "it to run")
        waiter.start()
        project.setting("acme", "app.seconds", 0)
        wait_for(lambda: daemon.ask("settings.show", client="acme", name="app.seconds")["value"] == 0, "the change")
        os.kill(fronts(daemon)[number]["pid"], signal.SIGKILL)
        waiter.join(90)
        connection.close()
        assert answers == ["ENDED_SUCCESS"]


def test_the_hubs_end_ends_every_process_even_a_stopped_one(project: Project) -> None:
    project.options(processes=2)
    with running(project) as daemon:
        pids = [front["pid"] for front in fronts(daemon)]
        stop(pids[0])
        daemon.process.kill()
        daemon.process.wait(30)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the fronts' end", 30)


def test_a_wait_for_the_other_fronts_execution_is_answered_when_the_drain_ends(project: Project) -> None:
    project.options(processes=2, drain_s=2)
    echo, path = project.endpoint("echo"), project.endpoint("sleeper", SLEEPER)
    with running(project) as daemon:
        location = daemon.request("POST", f"{path}?async", {"s": 600}).headers["location"]
        wait_for(lambda: daemon.get(location).json["status"] == "RUNNING", "it to run")
        connections = [connection_to(daemon, number, echo) for number in range(2)]
        for connection in connections:
            # Once the first of two in one write is answered, the second has been read as well.
            asked = [f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in ("/healthz", f"{location}?wait=600")]
            connection.sock.sendall("".join(asked).encode())
            assert next_answer(connection)[0] == 200
        daemon.signal(signal.SIGTERM)
        for connection in connections:
            status, body = next_answer(connection)
            assert (status, json.loads(body)["status"]) == (200, "RUNNING")
            connection.close()
        assert daemon.process.wait(60) == 0


def next_answer(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    """Reads one answer to what was written to the socket itself."""
    with http.client.HTTPResponse(connection.sock) as response:
        response.begin()
        return response.status, response.read()


def test_a_front_that_hangs_holds_up_neither_commands_nor_the_others(project: Project) -> None:
    project.options(processes=2)
    echo, save = project.endpoint("echo"), project.endpoint("save", SAVE)
    project.users("acme", {"kevin": {"flows": ["*"], "settings": {"read": ["app.*"], "write": ["app.*"]}}})
    with (
        running(project) as daemon,
        ThreadPoolExecutor() as pool,
        contextlib.closing(connection_to(daemon, 1, echo)) as other,
    ):
        pid = fronts(daemon)[0]["pid"]
        stop(pid)
        try:
            saving = pool.submit(daemon.get, save, connection=other)
            wait_for(lambda: not fronts(daemon)[0]["answers"], "the front to count as stuck", 60)
            assert saving.result().json["message"] == "saved"
            assert {row["flow_name"] for row in daemon.ask("executions.list")} >= {"save"}
            for _ in range(4):
                # In turn over all fronts, were none stuck; and to that with the fewest connections.
                assert daemon.ask("settings.show", client="acme", name="app.saved")["value"] == 1
                assert daemon.request("POST", echo, {}).status == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: fronts(daemon)[0]["answers"], "the front to answer again", 60)


def test_who_waits_for_a_front_that_hangs_is_answered(project: Project) -> None:
    project.options(processes=2)
    echo, path = project.endpoint("echo"), project.endpoint("sleeper", SLEEPER)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        own, other = (connection_to(daemon, number, echo) for number in range(2))
        location = daemon.request("POST", f"{path}?async", {"s": 600}, connection=own).headers["location"]
        own.close()
        wait_for(lambda: [front["connections"] for front in fronts(daemon)] == [0, 1], "the connection's end")
        pid = fronts(daemon)[0]["pid"]
        stop(pid)
        try:
            # Asked before anybody can know that it hangs. The last one is handed to it, for it has the fewest.
            waiting = pool.submit(daemon.get, f"{location}?wait=0.1", connection=other)
            asked = [pool.submit(daemon.ask, "executions.show", id=location.rpartition("/")[2])]
            asked += [pool.submit(daemon.ask, "settings.list") for _ in range(2)]
            fresh = daemon.connect(90.0)
            handed = pool.submit(daemon.request, "POST", echo, {}, connection=fresh)
            assert waiting.result().json["status"] in ("PENDING", "RUNNING")
            assert all(one.result() for one in asked)
            assert handed.result().status == 200
            assert fronts(daemon)[0]["starts"] == 1
            fresh.close()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert daemon.request("DELETE", location, connection=other).json["status"] == "ENDED_CANCELLED"
        other.close()


def test_a_connection_that_a_front_had_not_taken_when_it_died_is_served(project: Project) -> None:
    project.options(processes=2)
    echo = project.endpoint("echo")
    with running(project) as daemon, contextlib.closing(connection_to(daemon, 1, echo)):
        wait_for(lambda: [front["connections"] for front in fronts(daemon)] == [0, 1], "the other connections' end")
        pid = fronts(daemon)[0]["pid"]
        stop(pid)
        with contextlib.closing(daemon.connect(90.0)) as connection:
            connection.connect()
            wait_for(lambda: fronts(daemon)[0]["connections"] == 1, "it to be handed over")
            os.kill(pid, signal.SIGKILL)
            assert daemon.request("POST", echo, {}, connection=connection).status == 200


def test_what_is_saved_does_not_wait_for_a_front_that_starts(project: Project) -> None:
    project.options(processes=2)
    echo, save, read = project.endpoint("echo"), project.endpoint("save", SAVE), project.endpoint("read", READ)
    project.users("acme", {"kevin": {"flows": ["*"], "settings": {"read": ["app.*"], "write": ["app.*"]}}})
    with running(project) as daemon, contextlib.closing(connection_to(daemon, 1, echo)) as other:
        while True:
            os.kill(fronts(daemon)[0]["pid"], signal.SIGKILL)
            wait_for(lambda: fronts(daemon)[0]["state"] == "starting", "another front", 30)
            pid = fronts(daemon)[0]["pid"]
            stop(pid)
            if fronts(daemon)[0]["state"] == "starting":
                break
            os.kill(pid, signal.SIGCONT)
        try:
            assert daemon.get(save, connection=other).json["message"] == "saved"
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: all_serve(daemon), "the front to serve", 60)
        with contextlib.closing(connection_to(daemon, 0, read)) as connection:
            assert daemon.request("POST", read, {}, connection=connection).json["output_value"] == {"value": 1}


def test_a_front_that_hangs_does_not_keep_a_client_that_runs_nothing_from_its_place(project: Project) -> None:
    project.options(processes=2, workers=2)
    project.users("other", {"kevin": {"flows": ["*"]}})
    echo, spin = project.endpoint("echo"), project.endpoint("spin", SPIN)
    late = project.endpoint("echo", client="other")
    with running(project) as daemon, contextlib.closing(connection_to(daemon, 1, echo)) as other:
        spinning = [daemon.request("POST", f"{spin}?async", {}, connection=other).headers["location"] for _ in range(2)]
        wait_for(lambda: fronts(daemon)[1]["executions"]["running"] == 2, "both to run, in places of both fronts")
        pid = fronts(daemon)[0]["pid"]
        stop(pid)
        try:
            wait_for(lambda: not fronts(daemon)[0]["answers"], "the front to count as stuck", 60)
            assert daemon.request("POST", late, {}, connection=other).status == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        for location in spinning:
            assert daemon.request("DELETE", location, connection=other).json["status"] == "ENDED_CANCELLED"


SPIN = """
def handler(system, this):
    while True:
        pass
"""
READ = """
def handler(system, this):
    this.set_output('value', system.setting('app.saved').get('value'))
    return this.success('read')
"""
SAVE = """
def handler(system, this):
    system.setting('app.saved').save(value=1)
    return this.success('saved')
"""
PARENT = """
def handler(system, this):
    number = this.get('input_value')['json']['children']
    children = [this.flow('child', wait=False) for _ in range(number)]
    this.wait_for(*children)
    return this.success('all')
"""
CHILD = """
def handler(system, this):
    this.sleep(0.2)
    return this.success('x')
"""


def test_idle_workers_of_one_front_leave_the_quarter_for_the_others_children(project: Project) -> None:
    project.options(processes=2, max_workers=8, spare_workers=0)
    echo = project.endpoint("echo")
    project.flow("acme", "child", CHILD)
    path = project.endpoint("parent", PARENT)
    with running(project) as daemon:
        first, second = (connection_to(daemon, number, echo) for number in range(2))
        record = daemon.request("POST", path, {"children": 6}, connection=first).json
        assert record["status"] == "ENDED_SUCCESS", record["message"]
        record = daemon.request("POST", path, {"children": 2}, connection=second).json
        assert record["status"] == "ENDED_SUCCESS", record["message"]
        first.close()
        second.close()


def test_what_every_front_finds_alike_is_logged_once(project: Project) -> None:
    project.options(processes=3)
    project.write("config/acme/settings/broken.yaml", "a: [")
    with running(project) as daemon:
        wait_for(lambda: "broken.yaml" in daemon.log, "the fault to be told")
    told = [line.partition(" WARNING ")[2] for line in daemon.log.splitlines() if " WARNING " in line]
    assert any("broken.yaml" in line for line in told)
    assert sorted(told) == sorted(set(told))
