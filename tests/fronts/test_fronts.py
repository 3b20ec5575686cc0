"""`processes: 2` against real daemons: what CONTRACT promises of one process holds over both."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fronts.shapes import shape, shape_of_one_process
from tests.running import Project, RunningDaemon, is_alive, running, wait_for
from whd.store import queries
from whd.store.opening import FILE_NAME
from whd.store.rows import to_bytes
from whd.store.schema import open_reader

OK_FLOW = "def handler(system, this):\n    return this.success('{}')\n"
SLEEP_FLOW = """
def handler(system, this):
    this.sleep(float(this.get('input_value')['query'].get('s', 0.2)))
    return this.success('slept')
"""
APPEND_FLOW = """
def handler(system, this):
    number = int(this.get('input_value')['query']['n'])
    system.setting('app.list').list_append(number)
    this.set_output('is_there', number in system.setting('app.list').get('value'))
    return this.success('appended')
"""
READ_FLOW = """
def handler(system, this):
    this.set_output('value', system.setting('app.list').get('value'))
    return this.success('read')
"""
LOCK_FLOW = """
import time

def handler(system, this):
    query = this.get('input_value')['query']
    lock = system.setting('app.lock').acquire(timeout=float(query.get('timeout', 60)))
    began = time.time()
    this.sleep(float(query.get('s', 0)))
    this.set_output('held', [began, time.time()])
    lock.release()
    return this.success('had it')
"""
SPIN_FLOW = """
def handler(system, this):
    while True:
        pass
"""


class Fronts:
    """A daemon with two fronts, and a connection to each: they are handed out to the one that has fewer."""

    def __init__(self, project: Project, daemon: RunningDaemon) -> None:
        self.project = project
        self.daemon = daemon
        self.connections = [daemon.connect(60.0), daemon.connect(60.0)]
        for connection in self.connections:
            assert daemon.get("/healthz", connection=connection).status == 200
        counts = [front["connections"] for front in self.rows()]
        assert counts == [1, 1]

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.daemon.ask("status")["fronts"]
        return rows

    def get(self, place: int, path: str) -> Any:
        return self.daemon.get(path, connection=self.connections[place])

    def delete(self, place: int, path: str) -> Any:
        return self.daemon.request("DELETE", path, connection=self.connections[place])

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


@contextlib.contextmanager
def fronts_of(project: Project, **options: Any) -> Iterator[Fronts]:
    project.options(processes=2, **options)
    with running(project) as daemon, contextlib.closing(Fronts(project, daemon)) as fronts:
        yield fronts


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    rights = {"read": ["app.*"], "write": ["app.*"]}
    project.users("acme", {"kevin": {"flows": ["*"], "settings": rights, "files": {"read": ["*"], "write": ["*"]}}})
    project.setting("acme", "app.list", [])
    return project


def status_path(answer: Any) -> str:
    return f"/api/execution/acme/{answer.json['id']}"


def is_running(fronts: Fronts, place: int, path: str) -> bool:
    return bool(fronts.get(place, path).json["status"] == "RUNNING")


def all_run(fronts: Fronts, ids: list[str]) -> bool:
    return all(fronts.daemon.ask("executions.show", id=one)["status"] == "RUNNING" for one in ids)


def says(fronts: Fronts, place: int, path: str, message: str) -> bool:
    return bool(fronts.get(place, path).json["message"] == message)


def is_gone(fronts: Fronts, place: int, path: str) -> bool:
    return bool(fronts.get(place, path).status == 404)


def has_a_fault(fronts: Fronts, place: int) -> bool:
    return bool(fronts.get(place, "/readyz").json.get("faults") == 1)


def has(accepted: list[str], count: int) -> bool:
    return len(accepted) >= count


# ---- any front answers -----------------------------------------------------------------------------------------------


def test_status_wait_and_cancel_answer_from_either_front(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project) as fronts:
        for own, other in ((0, 1), (1, 0)):
            started = fronts.get(own, path + "?async&s=600")
            assert started.status == 202
            place = status_path(started)
            wait_for(partial(is_running, fronts, other, place), "its start")
            assert fronts.get(own, place).json["status"] == "RUNNING"
            assert fronts.get(other, place + "?wait=0.1").json["status"] == "RUNNING"
            assert fronts.daemon.ask("executions.show", id=started.json["id"])["status"] == "RUNNING"
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(fronts.daemon.get, place + "?wait=60")
                cancelled = fronts.delete(other, place)
                assert (cancelled.status, cancelled.json["status"]) == (200, "ENDED_CANCELLED")
                assert waiting.result().json["status"] == "ENDED_CANCELLED"
            for front in (own, other):
                record = fronts.get(front, place).json
                assert (record["status"], record["message"]) == ("ENDED_CANCELLED", "cancelled by DELETE")


def test_the_record_of_a_sync_call_is_in_the_other_front_at_once(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    with fronts_of(project) as fronts:
        for number in range(50):
            own, other = number % 2, 1 - number % 2
            answer = fronts.get(own, path)
            assert answer.status == 200
            record = fronts.get(other, status_path(answer)).json
            assert (record["status"], record["script"]) == ("ENDED_SUCCESS", OK_FLOW.format("ok"))


def test_the_commands_speak_for_all_fronts(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project) as fronts:
        daemon = fronts.daemon
        ids = [fronts.get(place, path + "?async&s=600").json["id"] for place in (0, 1, 0, 1)]
        wait_for(lambda: len(daemon.ask("executions.list", status="RUNNING")) == 4, "all to run")
        assert {row["id"] for row in daemon.ask("executions.list")} == set(ids)
        status = daemon.ask("status")
        assert (status["executions"]["started"], status["executions"]["live"]) == (4, 4)
        assert [row["state"] for row in status["fronts"]] == ["serving", "serving"]
        assert status["processes"] == 2
        assert shape(status) == shape_of_one_process()
        for execution_id in ids:
            assert daemon.ask("executions.cancel", id=execution_id)["status"] == "ENDED_CANCELLED"
        replays = [daemon.ask("executions.replay", id=execution_id)["id"] for execution_id in ids]
        for replay in replays:
            assert daemon.ask("executions.show", id=replay)["replay_of"] in ids
            daemon.ask("executions.cancel", id=replay)
        record = daemon.ask("run", client="acme", flow="slow", user="kevin", input={"query": {"s": "0"}})
        assert record["status"] == "ENDED_SUCCESS"


# ---- what is one for all ---------------------------------------------------------------------------------------------


def test_no_append_is_lost_and_each_is_seen_everywhere_once_it_is_answered(project: Project) -> None:
    append, read = project.endpoint("append", APPEND_FLOW), project.endpoint("read", READ_FLOW)
    with fronts_of(project) as fronts:

        def work(place: int) -> None:
            with contextlib.closing(fronts.daemon.connect(60.0)) as connection:
                for number in range(20):
                    answer = fronts.daemon.get(f"{append}?n={place * 100 + number}", connection=connection)
                    assert answer.json["output_value"] == {"is_there": True}, answer.body

        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(work, place) for place in range(4)]:
                done.result()
        expected = sorted(place * 100 + number for place in range(4) for number in range(20))
        for front in (0, 1):
            assert sorted(fronts.get(front, read).json["output_value"]["value"]) == expected
        for number in range(1000, 1020):
            own, other = number % 2, 1 - number % 2
            assert fronts.get(own, f"{append}?n={number}").status == 200
            assert fronts.get(other, read).json["output_value"]["value"][-1] == number


def test_a_refused_append_says_why_from_either_front(project: Project) -> None:
    project.setting("acme", "app.text", "no list")
    path = project.endpoint("wrong", APPEND_FLOW.replace("app.list", "app.text"))
    denied = project.endpoint("denied", APPEND_FLOW.replace("app.list", "other"))
    with fronts_of(project) as fronts:
        for place in (0, 1):
            assert "only a list can be appended to" in fronts.get(place, path + "?n=1").json["message"]
            assert "may not write" in fronts.get(place, denied + "?n=1").json["message"]


def test_a_lock_is_held_by_one_over_both_fronts(project: Project) -> None:
    path = project.endpoint("lock", LOCK_FLOW)
    with fronts_of(project, workers=8) as fronts:

        def work(_place: int) -> list[tuple[float, float]]:
            with contextlib.closing(fronts.daemon.connect(60.0)) as connection:
                answers = [fronts.daemon.get(path + "?s=0.01", connection=connection) for _ in range(5)]
                return [tuple(answer.json["output_value"]["held"]) for answer in answers]

        with ThreadPoolExecutor() as pool:
            held = sorted(span for spans in pool.map(work, range(4)) for span in spans)
        assert len(held) == 20
        for (_, ended), (began, _) in itertools.pairwise(held):
            assert ended <= began


def test_a_lock_times_out_against_the_other_front_and_falls_free_with_its_execution(project: Project) -> None:
    path = project.endpoint("lock", LOCK_FLOW)
    with fronts_of(project) as fronts:
        holder = fronts.get(0, path + "?async&s=600")
        wait_for(lambda: fronts.get(0, status_path(holder)).json["status"] == "RUNNING", "the holder")
        wait_for(lambda: "could not be acquired" in fronts.get(1, path + "?timeout=0").json["message"], "the lock")
        assert fronts.delete(1, status_path(holder)).json["status"] == "ENDED_CANCELLED"
        assert fronts.get(1, path).status == 200


def test_a_reload_and_what_is_removed_reach_both_fronts(project: Project) -> None:
    path = project.endpoint("edit", OK_FLOW.format("old"))
    with fronts_of(project) as fronts:
        assert [fronts.get(place, path).json["message"] for place in (0, 1)] == ["old", "old"]
        project.flow("acme", "edit", OK_FLOW.format("new"))
        for place in (0, 1):
            wait_for(partial(says, fronts, place, path, "new"), "the edit")
        fronts.daemon.signal(signal.SIGHUP)
        fronts.daemon.wait_message("RELOADING", "1")
        fronts.daemon.wait_message("READY", "1")
        (project.config / "acme/settings/client.webhook.edit.yaml").unlink()
        for place in (0, 1):
            wait_for(partial(is_gone, fronts, place, path), "the end of the webhook")


def test_faults_show_from_both_fronts(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    with fronts_of(project) as fronts:
        project.write("config/acme/settings/client.webhook.fine.yaml", "flow_name: [")
        for place in (0, 1):
            wait_for(partial(has_a_fault, fronts, place), "the fault")
            assert fronts.get(place, path).status == 200
        assert len(fronts.daemon.ask("status")["faults"]) == 1


# ---- limits over all fronts ------------------------------------------------------------------------------------------


def test_no_more_flows_run_than_there_are_places_over_both(project: Project) -> None:
    path = project.endpoint("spin", SPIN_FLOW)
    with fronts_of(project, workers=3) as fronts:
        for number in range(12):
            assert fronts.get(number % 2, path + "?async").status == 202
        running_now = wait_for(
            lambda: len(rows := fronts.daemon.ask("executions.list", status="RUNNING")) >= 3 and rows, "three to run"
        )
        assert len(running_now) == 3
        assert fronts.daemon.ask("status")["executions"]["places"] == 3
        for _ in range(9):
            # One ends, one goes on: never more, and none is left behind.
            rows = fronts.daemon.ask("executions.list", status="RUNNING")
            assert len(rows) <= 3
            fronts.daemon.ask("executions.cancel", id=rows[0]["id"])
            wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) >= 3, "the next")
        for row in fronts.daemon.ask("executions.list", status="RUNNING"):
            fronts.daemon.ask("executions.cancel", id=row["id"])


def test_all_places_are_usable_from_one_front(project: Project) -> None:
    path = project.endpoint("spin", SPIN_FLOW)
    with fronts_of(project, workers=4) as fronts:
        for _ in range(6):
            assert fronts.get(0, path + "?async").status == 202
        wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) == 4, "four to run")
        for row in fronts.daemon.ask("executions.list"):
            fronts.daemon.ask("executions.cancel", id=row["id"])


def test_a_client_that_runs_nothing_gets_one_place_beyond_them_over_both(project: Project) -> None:
    project.users("other", {"kevin": {"flows": ["*"]}})
    spin = project.endpoint("spin", SPIN_FLOW)
    theirs = project.endpoint("spin", SPIN_FLOW, client="other")
    with fronts_of(project, workers=2) as fronts:
        for number in range(4):
            assert fronts.get(number % 2, spin + "?async").status == 202
        wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) == 2, "two to run")
        for number in range(4):
            assert fronts.get(number % 2, theirs + "?async").status == 202

        def running_of(client: str) -> int:
            return len(fronts.daemon.ask("executions.list", status="RUNNING", client=client))

        wait_for(lambda: running_of("other") == 1, "the place beyond")
        assert fronts.get(0, theirs + "?async").status == 202
        assert (running_of("acme"), running_of("other")) == (2, 1)
        for row in fronts.daemon.ask("executions.list"):
            fronts.daemon.ask("executions.cancel", id=row["id"])


def test_max_queue_counts_the_calls_of_both_fronts(project: Project) -> None:
    path = project.endpoint("spin", SPIN_FLOW)
    with fronts_of(project, workers=1, max_queue=4) as fronts:
        assert fronts.get(0, path + "?async").status == 202
        wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) == 1, "one to run")
        answers = [fronts.get(number % 2, path + "?async") for number in range(8)]
        assert [answer.status for answer in answers] == [202] * 4 + [503] * 4
        assert "Retry-After".lower() in answers[-1].headers
        for row in fronts.daemon.ask("executions.list"):
            fronts.daemon.ask("executions.cancel", id=row["id"])


def test_max_connections_counts_those_of_both_fronts(project: Project) -> None:
    with fronts_of(project, max_connections=4) as fronts:
        more = [fronts.daemon.connect() for _ in range(2)]
        for connection in more:
            assert fronts.daemon.get("/healthz", connection=connection).status == 200
        refused = fronts.daemon.get("/healthz")
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        for connection in more:
            connection.close()
        wait_for(lambda: fronts.daemon.get("/healthz").status == 200, "room for another")


def test_max_workers_counts_those_of_both_fronts(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project, workers=32, max_workers=8, spare_workers=1) as fronts:
        for number in range(12):
            assert fronts.get(number % 2, path + "?async&s=600").status == 202
        wait_for(lambda: fronts.daemon.ask("status")["workers"]["busy"] >= 6, "the workers that are not for children")
        status = fronts.daemon.ask("status")
        assert status["workers"]["total"] <= 8
        for row in fronts.daemon.ask("executions.list"):
            fronts.daemon.ask("executions.cancel", id=row["id"])


def test_an_idle_worker_of_one_front_makes_room_for_the_other(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project, workers=32, max_workers=8, spare_workers=1) as fronts:
        with ThreadPoolExecutor() as pool:
            connections = [fronts.daemon.connect(60.0) for _ in range(8)]
            calls = [
                pool.submit(fronts.daemon.get, path + "?s=0.2", connection=connection) for connection in connections
            ]
            assert [call.result().status for call in calls] == [200] * 8
            for connection in connections:
                connection.close()
        for place in (0, 1):
            started = [fronts.get(place, path + "?async&s=600").json["id"] for _ in range(5)]
            wait_for(partial(all_run, fronts, started), "five to run")
            for one in started:
                fronts.daemon.ask("executions.cancel", id=one)


ACTIVATE = """
import os, socket, sys
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sock.listen()
if sock.fileno() != 3:
    os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="whd", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_socket_of_the_service_manager_serves_both_fronts(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    project.options(processes=2)
    with (
        running(project, prefix=(sys.executable, "-c", ACTIVATE), listen=("127.0.0.1:1",)) as daemon,
        contextlib.closing(Fronts(project, daemon)) as fronts,
    ):
        assert [fronts.get(place, path).status for place in (0, 1)] == [200, 200]


# ---- the end of a front, and of all ----------------------------------------------------------------------------------


def test_a_front_that_dies_is_replaced_and_the_other_loses_nothing(project: Project) -> None:
    slow, lost = project.endpoint("slow", SLEEP_FLOW), project.endpoint("lost", SLEEP_FLOW)
    lock = project.endpoint("lock", LOCK_FLOW)
    with fronts_of(project) as fronts, ThreadPoolExecutor() as pool:
        daemon = fronts.daemon
        kept = pool.submit(fronts.get, 1, slow + "?s=2")
        holder = fronts.get(0, lock + "?async&s=600").json["id"]
        again = fronts.get(0, slow + "?async&s=2").json["id"]
        interrupted = pool.submit(fronts.get, 0, lost + "?s=600")
        rows = wait_for(lambda: daemon.ask("executions.list", status="RUNNING", webhook="lost"), "the call to run")
        lost_id = rows[0]["id"]
        wait_for(lambda: status_on_disk(project, lost_id) == "RUNNING", "its record on disk")
        before = fronts.rows()
        os.kill(before[0]["pid"], signal.SIGKILL)
        with pytest.raises((OSError, http.client.HTTPException)):
            interrupted.result()

        # Asked all the while, also of a front that only starts.
        def all_serve() -> list[dict[str, Any]]:
            rows = fronts.rows()
            is_new = rows[0]["starts"] == 2
            return rows if is_new and all(row["state"] == "serving" for row in rows) else []

        after = wait_for(all_serve, "another front", 30.0)
        assert after[1]["pid"] == before[1]["pid"]
        assert [row["starts"] for row in after] == [2, 1]
        assert (kept.result().status, kept.result().json["message"]) == (200, "slept")
        record = daemon.wait_ended("acme", again)
        assert record["status"] == "ENDED_SUCCESS"
        record = daemon.wait_ended("acme", lost_id)
        assert (record["status"], record["message"]) == ("ENDED_ERROR", "interrupted by a restart")
        # The lock fell free, and the execution that had it runs again and takes it again.
        wait_for(lambda: fronts.get(1, f"/api/execution/acme/{holder}").json["status"] == "RUNNING", "the holder")
        assert fronts.delete(1, f"/api/execution/acme/{holder}").json["status"] == "ENDED_CANCELLED"
        assert fronts.get(1, lock).status == 200
        # The new front takes connections, and the call through it is one of the front of that number.
        with contextlib.closing(daemon.connect()) as connection:
            answer = daemon.get(lost + "?s=0", connection=connection)
            assert (answer.status, int(answer.json["id"][-2:], 16)) == (200, 0)


def status_on_disk(project: Project, execution_id: str) -> str:
    """What the store's file says of an execution, "" while it says nothing."""
    with contextlib.closing(open_reader(project.state / FILE_NAME)) as connection:
        stored = queries.get(connection, to_bytes(execution_id) or b"")
        return "" if stored is None else stored.execution.status.value


def test_sigterm_drains_both_fronts(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project) as fronts, ThreadPoolExecutor() as pool:
        calls = [pool.submit(fronts.get, place, path + "?s=1") for place in (0, 1)]
        wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) == 2, "both to run")
        pids = fronts.daemon.processes()
        assert fronts.daemon.stop() == 0
        for call in calls:
            assert (call.result().status, call.result().json["message"]) == (200, "slept")
        wait_for(lambda: not any(map(is_alive, pids)), "the end of all processes")


def test_after_drain_s_both_fronts_answer_202_and_all_runs_at_the_next_start(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with fronts_of(project, drain_s=0.2) as fronts, ThreadPoolExecutor() as pool:
        calls = [pool.submit(fronts.get, place, path + "?s=2") for place in (0, 1)]
        wait_for(lambda: len(fronts.daemon.ask("executions.list", status="RUNNING")) == 2, "both to run")
        assert fronts.daemon.stop() == 0
        answers = [call.result() for call in calls]
        assert [answer.status for answer in answers] == [202, 202]
        assert "2 executions have not ended" in fronts.daemon.log
    # One process takes over what two have left.
    project.options(processes=1)
    with running(project) as daemon:
        for answer in answers:
            assert daemon.wait_ended("acme", answer.json["id"])["status"] == "ENDED_SUCCESS"


def test_what_the_hub_started_dies_with_it(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    with fronts_of(project) as fronts:
        assert fronts.get(0, path).status == 200
        pids = fronts.daemon.processes()
        assert len(pids) >= 4
        fronts.daemon.kill()
        wait_for(lambda: not any(map(is_alive, pids)), "the end of all processes")


def test_every_accepted_async_execution_survives_kill_9_of_all(project: Project) -> None:
    """Bursts, a kill -9 in each: every id that was answered with 202 ends after the restart."""
    path = project.endpoint("burst", SLEEP_FLOW)
    project.options(processes=2)
    accepted: list[str] = []
    for _ in range(5):
        daemon = RunningDaemon(project).wait_ready()
        seen = len(accepted)
        stop = threading.Event()

        def call(daemon: RunningDaemon = daemon, stop: threading.Event = stop) -> None:
            with contextlib.closing(daemon.connect()) as connection:
                while not stop.is_set():
                    try:
                        answer = daemon.post(path + "?async&s=0.02", {}, connection=connection)
                    except (OSError, EOFError, ValueError, http.client.HTTPException):
                        return
                    if answer.status == 202:
                        accepted.append(answer.json["id"])

        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        wait_for(partial(has, accepted, seen + 40), "the burst")
        pids = daemon.processes()
        daemon.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        stop.set()
        for caller in callers:
            caller.join()
        daemon.close()
    assert len(accepted) >= 200
    with running(project) as daemon:
        for execution_id in accepted:
            assert daemon.wait_ended("acme", execution_id)["status"] == "ENDED_SUCCESS"


def test_a_front_that_cannot_start_refuses_the_start(project: Project) -> None:
    project.options(processes=2, sandbox_require=["cgroup"])
    daemon = RunningDaemon(project)
    try:
        if daemon.process.wait(60) == 0:
            pytest.skip("this host has the layer cgroup")
        assert "cgroup" in daemon.log
        assert "Traceback" not in daemon.log
    finally:
        daemon.close()


def test_each_front_has_ids_of_its_own(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    with fronts_of(project) as fronts:
        for place in (0, 1):
            ends = {fronts.get(place, path).json["id"][-2:] for _ in range(5)}
            assert len(ends) == 1
