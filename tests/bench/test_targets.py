"""Targets are started as a user would start them, and a target that is not right is not measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import answers, machine, targets

from .serving import answer, right, server


def asked(port: int, check: str = "job") -> None:
    target = targets.Target("test", "a test's server", check)
    targets.verify(targets.Running(target, os.getpid(), port, None))


def keyed(number: int, body: dict[str, object]) -> bytes:
    if body["key"] != answers.KEY:
        return answer({"code": "invalid_key"}, "401 Unauthorized")
    return answer(right(body))


def test_a_server_that_does_the_job_and_refuses_a_wrong_key_is_fit_to_be_measured() -> None:
    with server(keyed) as port:
        asked(port)


def test_a_server_that_takes_any_key_is_not() -> None:
    with (
        server(lambda number, body: answer(right(body))) as port,
        pytest.raises(targets.TargetError, match="wrong key"),
    ):
        asked(port)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer({"status": "ENDED_ERROR", "message": "boom"}), "boom"),
        (answer({}, "503 Service Unavailable"), "status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", "no proper answer"),
        (None, "no proper answer"),
    ],
)
def test_a_server_that_answers_wrongly_is_not(reply: bytes | None, reason: str) -> None:
    with server(lambda number, body: reply) as port, pytest.raises(targets.TargetError, match=reason):
        asked(port)


def test_an_execution_needs_an_id() -> None:
    with server(keyed) as port, pytest.raises(targets.TargetError, match="id is None"):
        asked(port, "execution")


def test_a_floor_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(targets.TargetError, match="invalid choice"),
        targets.running(targets.Target("none", "no floor", "job"), None),
    ):
        pass


def test_the_daemons_files_are_those_of_the_contract(tmp_path: Path) -> None:
    flow = targets.write_config(tmp_path, ("processes: 1",))
    setting = tmp_path / "config" / "acme" / "settings" / "client.webhook.order.yaml"
    assert setting.read_text() == f"flow_name: order\nuser_name: kevin\nkey: {answers.KEY}\n"
    assert setting.stat().st_mode & 0o077 == 0
    assert (tmp_path / "config" / "acme" / "users.yaml").read_text() == "kevin:\n  flows: [order]\n"
    assert (tmp_path / "config" / "whd.yaml").read_text() == "processes: 1\n"
    assert flow == tmp_path / "flows" / "acme" / "order.py"
    compile(flow.read_text(), "order.py", "exec")


def test_what_is_started_on_a_cpu_stays_there_and_we_do_not() -> None:
    allowed = os.sched_getaffinity(0)
    one = {min(allowed)}
    with machine.affinity(one):
        assert os.sched_getaffinity(0) == one
    assert os.sched_getaffinity(0) == allowed


def test_the_cpu_time_of_a_process_includes_the_children_that_it_waited_for() -> None:
    before = machine.cpu_s(os.getpid())
    code = "import time\nwhile time.process_time() < 0.15: pass"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
    assert machine.cpu_s(os.getpid()) - before >= 0.1
