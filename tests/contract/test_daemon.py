"""CONTRACT 2 and 4 against running daemons: reload, signals, drain, restart, crashes of workers and of the daemon."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest

from tests.running import KEY, ROOT, Project, RunningDaemon, Stopwatch, descendants, is_alive, running, wait_for

OK_FLOW = "def handler(system, this):\n    return this.success('{}')\n"
SLEEP_FLOW = """
def handler(system, this):
    this.sleep(float(this.get('input_value')['query'].get('s', 0.2)))
    return this.success('slept')
"""
LOOP_FLOW = "def handler(system, this):\n    while True:\n        pass\n"


def says(daemon: RunningDaemon, path: str, message: str) -> bool:
    return bool(daemon.get(path).json["message"] == message)


def has(accepted: list[str], count: int) -> bool:
    return len(accepted) >= count


# ---- reload ----------------------------------------------------------------------------------------------------------


def test_an_edit_is_live_within_a_second_without_a_failed_call(project: Project) -> None:
    """Four connections call all the time while flow and setting change ten times."""
    path = project.endpoint("edited", OK_FLOW.format("version 0"))
    with running(project) as daemon:
        assert daemon.get(path).json["message"] == "version 0"
        stop = threading.Event()
        failures: list[str] = []
        counts: list[int] = []

        def call() -> None:
            connection = daemon.connect()
            count = 0
            while not stop.is_set():
                answer = daemon.get(path, connection=connection)
                count += 1
                if answer.status != 200:
                    failures.append(f"{answer.status} {answer.body!r}")
            counts.append(count)
            connection.close()

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            slowest = 0.0
            pids = (os.getpid(), daemon.process.pid, *daemon.processes())
            for number in range(1, 11):
                message = f"version {number}"
                since_written = Stopwatch(*pids)
                # In turn: the flow's text changes; the setting names another flow.
                name = "edited" if number % 2 else f"edited-{number}"
                project.flow("acme", name, OK_FLOW.format(message))
                project.webhook("acme", "edited", flow_name=name)
                wait_for(partial(says, daemon, path, message), message)
                slowest = max(slowest, since_written.elapsed_s())
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        assert not failures
        assert min(counts) > 10
        assert slowest < 1.0


def test_a_broken_file_keeps_its_last_good_version_and_is_named(project: Project) -> None:
    path = project.endpoint("kept", OK_FLOW.format("good"))
    with running(project) as daemon:
        assert daemon.get(path).status == 200
        project.write("config/acme/settings/client.webhook.kept.yaml", "flow_name: [kept\n")
        faults = wait_for(lambda: daemon.ask("status")["faults"], "the fault")
        assert "client.webhook.kept.yaml:" in faults[0]
        assert daemon.get(path).json["message"] == "good"
        assert daemon.get("/readyz").json == {"status": "degraded", "faults": 1}
        project.webhook("acme", "kept")
        wait_for(lambda: daemon.get("/readyz").json == {"status": "ready"}, "the fault to go")


def test_a_flow_that_stops_compiling_keeps_its_last_good_version(project: Project) -> None:
    path = project.endpoint("kept", OK_FLOW.format("good"))
    with running(project) as daemon:
        assert daemon.get(path).status == 200
        project.flow("acme", "kept", "def handler(system, this:\n")
        faults = wait_for(lambda: daemon.ask("status")["faults"], "the fault")
        assert "kept.py:1" in faults[0]
        assert daemon.get(path).json["message"] == "good"


def test_a_user_that_is_removed_is_gone_at_once(project: Project) -> None:
    path = project.endpoint("orphan", OK_FLOW.format("ok"))
    with running(project) as daemon:
        assert daemon.get(path).status == 200
        project.users("acme", {"other": {}})
        wait_for(lambda: daemon.get(path).status == 503, "the user to go")


def test_options_are_live_and_the_others_ask_for_a_restart(project: Project) -> None:
    path = project.endpoint("limited", SLEEP_FLOW)
    with running(project) as daemon:
        project.options(wait_s=0.1, listen=["127.0.0.1:1"])
        wait_for(lambda: daemon.get(path + "?s=0.5").status == 202, "the new wait_s")
        assert "needs a restart" in daemon.log
        assert daemon.addresses == daemon.ask("status")["addresses"]


def test_sighup_reloads(project: Project) -> None:
    path = project.endpoint("hup", OK_FLOW.format("ok"))
    with running(project) as daemon:
        daemon.signal(signal.SIGHUP)
        message = daemon.wait_message("RELOADING", "1")
        assert int(message["MONOTONIC_USEC"]) > 0
        daemon.wait_message("READY", "1")
        assert daemon.get(path).status == 200


def test_a_broken_whd_yaml_refuses_the_start(project: Project) -> None:
    project.write("config/whd.yaml", "max_quueue: 5\n")
    result = whd("serve", project, "--listen", "127.0.0.1:0")
    assert result.returncode == 1
    assert "whd.yaml:1" in result.stderr
    assert "max_queue" in result.stderr
    assert "Traceback" not in result.stderr


def whd(command: str, project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    return subprocess.run(
        [sys.executable, "-m", "whd", *command.split(), *folders, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---- one daemon per state --------------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_state_is_refused_naming_the_first(project: Project) -> None:
    with running(project) as daemon:
        result = whd("serve", project, "--listen", "127.0.0.1:0")
        assert result.returncode == 1
        assert str(daemon.process.pid) in result.stderr


def test_state_is_private(project: Project) -> None:
    path = project.endpoint("x", OK_FLOW.format("ok"))
    with running(project) as daemon:
        daemon.get(path)
        assert project.state.stat().st_mode & 0o777 == 0o700
        for entry in project.state.rglob("*"):
            assert entry.stat().st_mode & 0o777 == 0o600, entry


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_sigterm_answers_what_is_in_flight(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        answer = pool.submit(daemon.get, path + "?s=1")
        wait_for(lambda: daemon.ask("status")["executions"]["live"], "the call")
        assert daemon.stop() == 0
        assert answer.result().json["message"] == "slept"
    names = [name for message in daemon.messages for name in message]
    assert "READY" in names


def test_after_drain_s_sync_callers_get_a_202_and_their_flow_runs_at_the_next_start(project: Project) -> None:
    project.options(drain_s=0.5)
    path = project.endpoint("slow", SLEEP_FLOW)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        answer = pool.submit(daemon.get, path + "?s=1.5")
        wait_for(lambda: daemon.ask("status")["executions"]["live"], "the call")
        assert daemon.stop() == 0
        assert answer.result().status == 202
        execution_id = answer.result().json["id"]
    with running(project) as daemon:
        record = daemon.wait_ended("acme", execution_id)
        assert (record["status"], record["attempts"]) == ("ENDED_SUCCESS", 2)


def test_a_second_signal_ends_at_once(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        answer = pool.submit(daemon.get, path + "?s=60")
        wait_for(lambda: daemon.ask("status")["executions"]["live"], "the call")
        daemon.signal(signal.SIGINT)
        wait_for(lambda: "stopping" in daemon.log, "the drain")
        started = time.monotonic()
        daemon.signal(signal.SIGINT)
        assert daemon.process.wait(20) == 0
        assert time.monotonic() - started < 10
        assert answer.result().status == 202


def test_new_connections_are_refused_while_draining(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        answer = pool.submit(daemon.get, path + "?s=1")
        wait_for(lambda: daemon.ask("status")["executions"]["live"], "the call")
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in daemon.log, "the drain")
        with pytest.raises(OSError):
            daemon.get("/healthz")
        assert answer.result().status == 200


def test_what_the_daemon_started_dies_with_it(project: Project) -> None:
    path = project.endpoint("loop", LOOP_FLOW)
    with running(project) as daemon:
        daemon.post(path + "?async", {})
        pids = wait_for(daemon.processes, "workers")
        daemon.kill()
        wait_for(lambda: not any(map(is_alive, pids)), "all helpers to die")


# ---- crashes ---------------------------------------------------------------------------------------------------------


def test_every_accepted_async_execution_survives_kill_9(project: Project) -> None:
    """20 bursts, a kill -9 in each: every id that was answered with 202 ends after the restart."""
    path = project.endpoint("burst", SLEEP_FLOW)
    accepted: list[str] = []
    for _ in range(20):
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
        daemon.kill()
        stop.set()
        for caller in callers:
            caller.join()
        daemon.close()
    assert len(accepted) >= 800
    with running(project) as daemon:
        for execution_id in accepted:
            assert daemon.wait_ended("acme", execution_id)["status"] == "ENDED_SUCCESS"


def test_a_killed_worker_costs_its_own_call_only(project: Project) -> None:
    project.options(workers=1)
    path = project.endpoint("victim", LOOP_FLOW)
    fine = project.endpoint("fine", OK_FLOW.format("ok"))
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        assert daemon.get(fine).status == 200
        answer = pool.submit(daemon.get, path)
        busiest = wait_for(lambda: _busy(daemon), "the looping worker")
        os.kill(busiest, signal.SIGKILL)
        record = answer.result()
        assert record.status == 500
        assert record.json["status"] == "ENDED_ERROR"
        assert "signal 9" in record.json["message"]
        assert daemon.get(fine).status == 200


def test_a_killed_zygote_is_replaced(project: Project) -> None:
    path = project.endpoint("fine", OK_FLOW.format("ok"))
    with running(project) as daemon:
        assert daemon.get(path).status == 200
        fronts = {front["pid"] for front in daemon.ask("status").get("fronts", ())}
        for pid in set(daemon.processes()) - fronts:
            with contextlib.suppress(ProcessLookupError):  # it died with the one before
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: daemon.get(path).status == 200, "another zygote")


def _busy(daemon: RunningDaemon) -> int:
    """The pid of a worker that has used CPU for a while, 0 while there is none."""
    for pid in daemon.processes():
        with contextlib.suppress(FileNotFoundError):
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]
            if int(ticks) > 60 and not descendants(pid):
                return pid
    return 0


def test_sync_executions_that_a_crash_interrupted_say_so(project: Project) -> None:
    path = project.endpoint("slow", SLEEP_FLOW)
    with running(project) as daemon, ThreadPoolExecutor() as pool:
        caller = pool.submit(daemon.get, path + "?s=60")
        execution_id = wait_for(lambda: _running_id(daemon), "its record")
        wait_for(lambda: daemon.ask("status")["store"]["written"], "its record on disk")
        daemon.kill()
        with pytest.raises((OSError, http.client.HTTPException)):
            caller.result()
    with running(project) as daemon:
        record = daemon.get(f"/api/execution/acme/{execution_id}").json
        assert record["status"] == "ENDED_ERROR"
        assert "interrupted by a restart" in record["message"]


def _running_id(daemon: RunningDaemon) -> str:
    rows = daemon.ask("executions.list", status="RUNNING")
    return rows[0]["id"] if rows else ""


# ---- secrets ---------------------------------------------------------------------------------------------------------


def headers_of_browsers_and_proxies(url: str) -> dict[str, str]:
    """What they make of a URL."""
    encoded = quote(url, safe="")
    return {
        "Referer": f"https://whd.example{url}",
        "X-Original-URL": url,
        "X-Original-URI": url,
        "X-Rewrite-URL": f"{url}&x=1",
        "X-Forwarded-Uri": encoded,
        "X-Envoy-Original-Path": quote(encoded, safe=""),
        "Cookie": f"a=1; last={encoded}; b=2",
        "Forwarded": f'for=10.0.0.1;proto=https;path="{url}"',
        "Proxy-Authorization": f"Bearer {unquote(url.partition('key=')[2])}",
        "X-Auth-Request-Redirect": url,
    }


def test_the_key_is_nowhere_but_in_its_setting(project: Project) -> None:
    """Not in an answer, a log line, an error, or a byte of state/."""
    project.options(log_level="debug")
    echo = "def handler(system, this, inputs):\n    this.log(inputs)\n    this.set_output(inputs)\n"
    path = project.endpoint("keyed", echo, key=KEY)
    fails = project.endpoint("fails", "def handler(system, this, inputs):\n    raise ValueError(inputs)\n", key=KEY)
    answers = []
    with running(project) as daemon:
        for target in (path, fails):
            for query in ("", "?async", "?x=1"):
                joiner = "&" if query else "?"
                answers += [
                    daemon.post(target + query, {"key": KEY}),
                    daemon.post(f"{target}{query}{joiner}key={KEY}", {}),
                    daemon.post(target + query, {}, headers={"Authorization": f"Bearer {KEY}"}),
                    daemon.post(target + query, {}, headers={"X-Webhook-Key": KEY}),
                    daemon.post(
                        target + query, f"key={KEY}", headers={"Content-Type": "application/x-www-form-urlencoded"}
                    ),
                    daemon.post(f"{target}{query}{joiner}key={KEY}", {"key": "theirs"}),
                    daemon.post(f"{target}{query}{joiner}key=wrong", {"key": KEY}),
                    *(
                        daemon.post(
                            f"{target}{query}{joiner}key={spelling}&token={spelling}&back=%2Fx%3Fkey%3D{spelling}",
                            {},
                            headers=headers_of_browsers_and_proxies(f"{target}?key={spelling}"),
                        )
                        for spelling in (KEY, KEY.replace("-", "%2d"), "".join(f"%{byte:02X}" for byte in KEY.encode()))
                    ),
                    daemon.post(
                        f"{target}{query}{joiner}key={KEY}", b"{", headers={"Content-Type": "application/json"}
                    ),
                ]
        assert {answer.status for answer in answers} == {200, 202, 400, 401, 500}
        status = json.dumps([daemon.ask("status"), daemon.ask("executions.list", limit=100)])
    assert KEY not in status
    for answer in answers:
        text = answer.body.decode() + json.dumps(answer.headers)
        assert KEY not in text
        assert KEY not in unquote(unquote(text))
    assert KEY not in daemon.log
    for file in project.state.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in unquote_to_bytes(unquote_to_bytes(file.read_bytes())), file


# ---- sockets ---------------------------------------------------------------------------------------------------------


def test_unix_socket(project: Project, tmp_path: Path) -> None:
    path = project.endpoint("x", OK_FLOW.format("ok"))
    address = tmp_path / "whd.sock"
    with running(project, listen=(f"unix:{address}",)), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(address))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b'"message":"ok"' in b"".join(iter(lambda: connection.recv(65536), b""))
    assert not address.exists()


def test_an_address_in_use_is_named(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = whd("serve", project, "--listen", f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr


def test_watchdog_is_fed(project: Project) -> None:
    with running(project, environ={"WATCHDOG_USEC": "200000"}) as daemon:
        daemon.wait_message("WATCHDOG", "1")
        daemon.wait_message("WATCHDOG", "1")
