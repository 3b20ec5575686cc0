"""A worker process over its socket: frames in any cut, jobs in a row, large values, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whd.wire.frames import frame

from .far_side import WEBHOOK_INPUT, TestWorker, TestZygote, WorkerDied, run_frame

ECHO = "def handler(system, this, inputs):\n    this.set_output('got', inputs)\n"
LENGTH = "def handler(system, this, inputs):\n    this.set_output('length', len(inputs['data']))\n"


@pytest.fixture
def load(
    workers: Callable[..., TestWorker], compile_flow: Callable[[str], dict[str, Any]]
) -> Callable[[str], tuple[TestWorker, str]]:
    def make(source: str) -> tuple[TestWorker, str]:
        worker = workers()
        return worker, worker.load(source, compile_flow(source)["code"])

    return make


def test_a_flow_compiled_in_one_worker_runs_in_another(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load(ECHO)
    assert worker.finish(worker.start(digest, WEBHOOK_INPUT)).output == {"got": WEBHOOK_INPUT}


def test_frames_may_come_a_byte_at_a_time(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load(ECHO)
    head = worker.run_head(digest)
    for byte in run_frame(head, b'{"a":1}'):
        worker.socket.sendall(bytes([byte]))
    assert worker.finish(head.job).output == {"got": {"a": 1}}


def test_many_jobs_in_one_write_are_answered_in_order(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load(ECHO)
    heads = [worker.run_head(digest) for _ in range(20)]
    worker.socket.sendall(b"".join(run_frame(head, str(head.job).encode()) for head in heads))
    for head in heads:
        assert worker.finish(head.job).output == {"got": head.job}


def test_jobs_that_come_during_a_call_wait_for_their_turn(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load("def handler(system, this):\n    this.sleep(1)\n    this.set_output('id', 1)\n")
    first, second = worker.run_head(digest), worker.run_head(digest)
    worker.socket.sendall(run_frame(first, b"null") + run_frame(second, b"null"))
    head, _ = worker.receive()
    assert (head["op"], head["job"]) == ("call", first.job)
    worker.send({"op": "answer", "job": first.job, "call": head["call"]}, b"null")
    assert worker.finish(first.job).status == "ENDED_SUCCESS"
    assert worker.finish(second.job).status == "ENDED_SUCCESS"


def test_a_large_input_arrives_whole(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load(LENGTH)
    assert worker.finish(worker.start(digest, {"data": "x" * 10_000_000})).output == {"length": 10_000_000}


def test_a_large_output_arrives_whole(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load("def handler(system, this):\n    this.set_output('ü' * 400_000)\n")
    assert worker.finish(worker.start(digest)).output == "ü" * 400_000


def test_an_input_with_white_space_is_read(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load(ECHO)
    head = worker.run_head(digest)
    worker.send(head, b' {\n "a" : [ 1 ] }\n')
    assert worker.finish(head.job).output == {"got": {"a": [1]}}


def test_a_worker_ends_with_its_daemon(workers: Callable[..., TestWorker]) -> None:
    worker = workers()
    worker.socket.close()
    assert worker.wait_exit() == 0


def test_a_worker_ends_while_it_waits_for_an_answer(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load("def handler(system, this):\n    this.sleep(1)\n")
    worker.start(digest)
    assert worker.receive()[0]["op"] == "call"
    worker.socket.close()
    assert worker.wait_exit() == 0


@pytest.mark.parametrize(
    "data",
    [
        frame({"op": "nope"}),
        frame({"op": "run"}, b"null"),
        b"\x03\x00\x00\x00run",
        frame({"op": "bind", "memory_bytes": 1, "cpu_s": 1}),
        frame({}),
        b"\x02\x00\x00\x00no",
        b"\xff\xff\xff\xff",
    ],
    ids=["unknown", "run in JSON", "run cut off", "a second bind", "no op", "no JSON", "endless"],
)
def test_a_frame_that_makes_no_sense_ends_the_worker(workers: Callable[..., TestWorker], data: bytes) -> None:
    worker = workers()
    worker.socket.sendall(data)
    with pytest.raises((WorkerDied, ConnectionResetError)):
        worker.receive()
    assert os.waitstatus_to_exitcode(worker.wait_exit()) == 70


def test_an_answer_to_another_call_ends_the_worker(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load("def handler(system, this):\n    this.sleep(1)\n")
    job = worker.start(digest)
    worker.receive()
    worker.send({"op": "answer", "job": job, "call": 99}, b"null")
    assert os.waitstatus_to_exitcode(worker.wait_exit()) == 70


def test_a_worker_that_is_killed_is_reported(load: Callable[[str], tuple[TestWorker, str]]) -> None:
    worker, digest = load("def handler(system, this):\n    while True:\n        pass\n")
    worker.start(digest)
    worker.kill()
    assert os.waitstatus_to_exitcode(worker.wait_exit()) == -signal.SIGKILL


def test_nothing_is_compiled_that_a_client_may_not_have(compile_flow: Callable[[str], dict[str, Any]]) -> None:
    answer = compile_flow("import os\n\ndef handler(system, this):\n    os.__class__\n")
    assert answer["op"] == "refused"
    assert answer["text"].startswith("flows/acme/signup.py:4: the attribute `__class__`")
    assert len(answer["hash"]) == 64


def test_warnings_come_with_the_code(compile_flow: Callable[[str], dict[str, Any]]) -> None:
    answer = compile_flow("import numpy\ndef handler(system, this):\n    pass\n")
    assert answer["warnings"] == [{"line": 1, "text": "flows have no module `numpy`: this import will fail"}]


# ---- payloads and outputs --------------------------------------------------------------------------------------------


def ask(worker: TestWorker, head: dict[str, Any], value: bytes) -> tuple[dict[str, Any], bytes | bytearray | None]:
    worker.send(head, value)
    return worker.receive()


def test_a_payload_is_parsed(workers: Callable[..., TestWorker]) -> None:
    head = {
        "op": "parse",
        "job": 3,
        "content_type": "application/json",
        "has_key": True,
        "gunzip_limit": 0,
        "pointers": [],
        "unwrap": "",
    }
    answer, value = ask(workers(), head | {"start": '{"method":"GET",'}, b'{"a": [1], "key": "secret"}')
    assert answer == {"op": "parsed", "job": 3, "keys": ["secret"]}
    assert value is not None
    assert json.loads(value) == {"method": "GET", "json": {"a": [1]}}


def test_a_process_for_large_inputs_gives_way_to_others(shared_zygote: TestZygote) -> None:
    nice = []
    for is_large in (False, True):
        worker = shared_zygote.fork()
        worker.send({"op": "bind", "client": "", "user": "", "memory_bytes": 1 << 28, "cpu_s": 9, "large": is_large})
        ask(worker, {"op": "check", "job": 1, "max_depth": 1}, b"{}")
        status = Path(f"/proc/self/fdinfo/{worker.pidfd}").read_text()
        pid = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Pid:"))
        nice.append(os.getpriority(os.PRIO_PROCESS, pid))
        worker.close()
    assert nice[1] == min(19, nice[0] + 10)


def test_what_is_passed_on_as_it_came_is_not_sent_back(workers: Callable[..., TestWorker]) -> None:
    head = {
        "op": "parse",
        "job": 3,
        "content_type": "application/json",
        "has_key": True,
        "gunzip_limit": 0,
        "pointers": [],
        "unwrap": "",
    }
    body = b'{"key": "secret", "a": [1]}'
    answer, value = ask(workers(), head | {"start": '{"method":"GET",'}, body)
    assert value is not None
    begin_bytes, rest_from = answer.pop("begin_bytes"), answer.pop("rest_from")
    assert answer == {"op": "parsed", "job": 3, "keys": ["secret"]}
    assert len(value) < begin_bytes + len(body) - rest_from
    assert value[:begin_bytes] + body[rest_from:] + value[begin_bytes:] == b'{"method":"GET","json":{ "a": [1]}}'


def test_a_payload_that_is_no_json_is_an_error(workers: Callable[..., TestWorker]) -> None:
    head = {
        "op": "parse",
        "job": 3,
        "content_type": "application/json",
        "has_key": False,
        "gunzip_limit": 0,
        "pointers": [],
        "unwrap": "",
    }
    answer, value = ask(workers(), head | {"start": "{"}, b"{nope")
    assert answer["op"] == "parsed"
    assert "is not JSON" in answer["error"]
    assert value is None


def test_a_packed_payload_is_unpacked_up_to_its_limit(workers: Callable[..., TestWorker]) -> None:
    worker = workers()
    head = {
        "op": "parse",
        "job": 3,
        "content_type": "",
        "has_key": False,
        "gunzip_limit": 100,
        "start": "{",
        "pointers": [],
        "unwrap": "",
    }
    answer, value = ask(worker, head, gzip.compress(b"[1]"))
    assert (answer, value) == ({"op": "parsed", "job": 3, "keys": []}, b'{"json":[1]}')
    answer, value = ask(worker, head | {"content_type": "application/json"}, gzip.compress(b""))
    assert (answer, value) == ({"op": "parsed", "job": 3, "keys": []}, b'{"json":null}')
    answer, value = ask(worker, head, gzip.compress(b"[1]" * 100))
    assert (answer["status"], value) == (413, None)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b'{"a":1}', None),
        (b"[" * 300 + b"]" * 300, None),
        (b"[" * 301 + b"]" * 301, "nested more than 300 deep, at line 1 column 301"),
        (b'{"a":NaN}', "NaN"),
        (b"\xff", "UTF-8"),
        (b"{", "JSON"),
        (b"1" * 5000, "digits"),
    ],
    ids=["fine", "deep", "too deep", "nan", "bytes", "cut", "digits"],
)
def test_an_output_is_checked(workers: Callable[..., TestWorker], output: bytes, words: str | None) -> None:
    answer, _ = ask(workers(), {"op": "check", "job": 1, "max_depth": 300}, output)
    assert answer["op"] == "checked"
    assert (words is None) == ("error" not in answer)
    assert words is None or words in answer["error"]
