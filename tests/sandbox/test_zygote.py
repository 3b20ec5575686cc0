"""The zygote: starts clean, forks on request, tells of every end, and goes with its daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from .far_side import TestWorker, TestZygote


@pytest.fixture
def zygote() -> Iterator[TestZygote]:
    own = TestZygote()
    yield own
    own.close()


def test_it_tells_which_layers_stand(shared_zygote: TestZygote) -> None:
    layers = {layer["name"]: layer for layer in shared_zygote.ready["layers"]}
    assert {"no_new_privs", "rlimits", "seccomp", "closed_fds"} <= layers.keys()
    for layer in layers.values():
        assert layer.keys() == {"name", "engaged", "reason"}
        assert layer["engaged"] or layer["reason"]
    assert shared_zygote.ready["failures"] == []


def test_a_fork_comes_with_a_pidfd(zygote: TestZygote) -> None:
    worker = zygote.fork()
    signal.pidfd_send_signal(worker.pidfd, 0)
    worker.kill()
    assert os.waitstatus_to_exitcode(worker.wait_exit()) == -signal.SIGKILL
    worker.close()


def test_many_forks_at_once(zygote: TestZygote) -> None:
    pairs = [socket.socketpair() for _ in range(40)]
    for number, (_ours, theirs) in enumerate(pairs, 100):
        message = json.dumps({"op": "fork", "worker": number}).encode()
        socket.send_fds(zygote.control, [message], [theirs.fileno()])
        theirs.close()
    workers = []
    for number, (ours, _theirs) in enumerate(pairs, 100):
        _, descriptors = zygote.wait_for("forked", worker=number)
        workers.append(TestWorker(zygote, number, ours, descriptors[0]))
    for worker in workers:
        worker.socket.close()
        assert worker.wait_exit() == 0
        worker.close()


def test_forks_that_were_asked_for_together_each_serve_their_own_socket(zygote: TestZygote) -> None:
    """They are told of together as well: a mix-up would hand one user's process to another."""
    pairs = {number: socket.socketpair() for number in range(200, 220)}
    for number, (_ours, theirs) in pairs.items():
        socket.send_fds(zygote.control, [json.dumps({"op": "fork", "worker": number}).encode()], [theirs.fileno()])
    workers = []
    for number, (ours, theirs) in pairs.items():
        theirs.close()
        _, descriptors = zygote.wait_for("forked", worker=number)
        workers.append(TestWorker(zygote, number, ours, descriptors[0]))
    for worker in reversed(workers):
        worker.bind()
        assert worker.compile("def handler(system, this): pass\n")[0]["op"] == "compiled"
        worker.kill()
        assert os.waitstatus_to_exitcode(worker.wait_exit()) == -signal.SIGKILL
        assert worker.socket.recv(1) == b""
        worker.close()


def test_it_does_not_block_on_a_daemon_that_does_not_listen(zygote: TestZygote) -> None:
    """Its answers wait, and come in order once somebody listens."""
    workers = [zygote.fork() for _ in range(30)]
    for worker in workers:
        worker.kill()
    pair = socket.socketpair()
    sent = 0
    zygote.control.setblocking(False)
    try:
        while sent < 2_000:
            socket.send_fds(
                zygote.control, [json.dumps({"op": "fork", "worker": 1000 + sent}).encode()], [pair[1].fileno()]
            )
            sent += 1
    except BlockingIOError:
        pass
    zygote.control.settimeout(20)
    for worker in workers:
        assert os.waitstatus_to_exitcode(worker.wait_exit()) == -signal.SIGKILL
        worker.close()
    for number in range(1000, 1000 + sent):
        _, descriptors = zygote.wait_for("forked", worker=number)
        os.close(descriptors[0])
    for end in pair:
        end.close()


def test_all_workers_end_with_the_daemon() -> None:
    own = TestZygote()
    workers = [own.bound() for _ in range(3)]
    for worker in workers:
        worker.compile("def handler(system, this): pass")  # it has read all that was sent: its end is no reset
    own.control.close()
    for worker in workers:
        assert worker.socket.recv(1) == b""
        worker.close()
    assert own.process.wait(20) == 0


def test_a_dead_zygote_takes_its_workers_along() -> None:
    own = TestZygote()
    worker = own.bound()
    worker.compile("def handler(system, this): pass")
    own.process.kill()
    assert worker.socket.recv(1) == b""
    own.process.wait(20)
    own.control.close()
    worker.close()


def test_it_starts_with_an_empty_environment_and_one_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHD_TEST_SECRET", "do not inherit")
    monkeypatch.setenv("TZ", "UTC")
    kept_open = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(kept_open, True)
    try:
        own = TestZygote()
    finally:
        os.close(kept_open)
    environment = subprocess.run(
        ["cat", f"/proc/{own.process.pid}/environ"], capture_output=True, check=False
    ).stdout  # not readable for an ordinary user: the process is not dumpable
    assert b"WHD_TEST_SECRET" not in environment
    own.close()


def test_a_bound_worker_answers_within_its_time(workers: Callable[..., TestWorker]) -> None:
    worker = workers()
    assert worker.compile("def handler(system, this): pass\n")[0]["op"] == "compiled"
