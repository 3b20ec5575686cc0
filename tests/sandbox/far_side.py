"""A small daemon for these tests: starts a real zygote, asks it for workers, speaks frames with them over sockets."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from whd.sandbox.launch import start_zygote
from whd.wire.frames import FrameReader, RunHead, frame, run_start, split, split_raw

PATIENCE_S = 20.0
LIMITS = {
    "max_output_bytes": 1_000_000,
    "max_log_bytes": 100_000,
    "max_calls": 1_000,
    "memory_bytes": 268_435_456,
}


@dataclass
class Ended:
    """What came of one run: the `end` frame's head, its output, the log lines, and the calls that were made.

    `raw`: what each call carried as it is.
    """

    head: dict[str, Any]
    output: Any
    log: list[Any] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.head["status"])

    @property
    def message(self) -> str:
        return str(self.head["message"])


class WorkerDied(Exception):
    """The worker closed its socket."""


class TestZygote:
    """One zygote and its messages."""

    __test__ = False

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.process, self.control = start_zygote(settings or {})
        self.control.settimeout(PATIENCE_S)
        self._pending: list[tuple[dict[str, Any], list[int]]] = []
        self._numbers = 0
        self.ready, _ = self.wait_for("ready")

    def wait_for(self, *ops: str, worker: int | None = None) -> tuple[dict[str, Any], list[int]]:
        """The next message with one of these ops, and its descriptors."""
        for index, (message, descriptors) in enumerate(self._pending):
            if message["op"] in ops and worker in (None, message.get("worker")):
                del self._pending[index]
                return message, descriptors
        while True:
            text, descriptors, _flags, _address = socket.recv_fds(self.control, 65_536, 4)
            if not text:
                raise AssertionError("the zygote ended")
            message = json.loads(text)
            if message["op"] in ops and worker in (None, message.get("worker")):
                return message, descriptors
            self._pending.append((message, descriptors))

    def fork(self) -> TestWorker:
        """A new worker, not bound yet."""
        self._numbers += 1
        ours, theirs = socket.socketpair()
        socket.send_fds(self.control, [json.dumps({"op": "fork", "worker": self._numbers}).encode()], [theirs.fileno()])
        theirs.close()
        message, descriptors = self.wait_for("forked", "fork_failed", worker=self._numbers)
        assert message["op"] == "forked", message
        return TestWorker(self, self._numbers, ours, descriptors[0])

    def bound(self, memory_bytes: int = 268_435_456) -> TestWorker:
        """A new worker, ready to work."""
        worker = self.fork()
        worker.bind(memory_bytes)
        return worker

    def close(self) -> None:
        self.control.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the zygote did not end with its daemon") from None
        for _message, descriptors in self._pending:
            for descriptor in descriptors:
                os.close(descriptor)


def run_frame(head: RunHead, value: bytes) -> bytes:
    return run_start(*head[:5], head.execution_id.decode(), head.name, len(value)) + value


class TestWorker:
    """The daemon's end of one worker."""

    __test__ = False

    def __init__(self, zygote: TestZygote, number: int, ours: socket.socket, pidfd: int) -> None:
        self.zygote, self.number, self.socket, self.pidfd = zygote, number, ours, pidfd
        self.socket.settimeout(PATIENCE_S)
        self._reader = FrameReader(1 << 30)
        self._frames: list[bytes | bytearray] = []
        self._jobs = 0
        self._known: set[tuple[str, str]] = set()
        self._contexts: list[dict[str, Any]] = []

    def send(self, head: dict[str, Any] | RunHead, value: bytes | None = None) -> None:
        self.socket.sendall(run_frame(head, value or b"") if isinstance(head, RunHead) else frame(head, value))

    def receive(self) -> tuple[dict[str, Any], bytes | bytearray | None]:
        while not self._frames:
            data = self.socket.recv(1 << 20)
            if not data:
                raise WorkerDied
            self._frames.extend(self._reader.feed(data))
        return split(self._frames.pop(0))

    def bind(self, memory_bytes: int = 268_435_456) -> None:
        self.send({"op": "bind", "client": "acme", "user": "kevin", "memory_bytes": memory_bytes, "cpu_s": 600})

    def compile(self, source: str, name: str = "signup") -> tuple[dict[str, Any], bytes | bytearray | None]:
        digest = sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self.send({"op": "compile", "hash": digest, "flow": name, "path": f"flows/acme/{name}.py", "source": source})
        return self.receive()

    def load(self, source: str, code: str, name: str = "signup") -> str:
        digest = sha256(source.encode()).hexdigest()
        if (digest, name) not in self._known:
            self._known.add((digest, name))
            path = f"flows/acme/{name}.py"
            self.send({"op": "code", "hash": digest, "flow": name, "path": path, "source": source, "code": code})
        return digest

    def run_head(self, digest: str, name: str = "signup", **limits: int) -> RunHead:
        """The head of a run; what it has in common with others is sent before."""
        self._jobs += 1
        context = {
            "hash": digest,
            "flow": name,
            "about": {
                "name": name,
                "type": "FLOW",
                "flow_name": name,
                "webhook_name": "signup",
                "user_name": "kevin",
                "client_name": "acme",
                "env_name": "test",
            },
            "limits": {**LIMITS, **limits},
        }
        if context not in self._contexts:
            self._contexts.append(context)
            self.send({"op": "context", "number": len(self._contexts), **context})
        return RunHead(
            job=self._jobs,
            context=self._contexts.index(context) + 1,
            is_behind=False,
            created_ms=1_795_418_280_123,
            started_ms=1_795_418_280_124,
            execution_id=b"0198c0de-0000-7000-8000-000000000001",
            name="",
        )

    def start(self, digest: str, inputs: Any = None, **limits: Any) -> int:
        """Sends one run; answers its job number."""
        head = self.run_head(digest, **limits)
        self.send(head, json.dumps(inputs).encode())
        return head.job

    def finish(self, job: int, answers: dict[str, Any] | None = None) -> Ended:
        """Serves a run's calls until its end.

        `answers`: by call name, a value, an (error type, text), or a function of the arguments that gives one of them.
        """
        log: list[Any] = []
        calls: list[tuple[str, Any]] = []
        raw: list[bytes] = []
        while True:
            head, value = self.receive()
            assert head["job"] == job, head
            if head["op"] == "end" and "response" in head:
                assert value is not None
                value, body = value[: head["output_bytes"]], value[head["output_bytes"] :]
                try:
                    head["response"]["body"] = body.decode("utf-8")
                except UnicodeDecodeError:
                    head["response"]["body_base64"] = base64.b64encode(body).decode("ascii")
            if head["op"] == "log":
                assert value is not None
                log.extend(json.loads(value))
            elif head["op"] == "call":
                assert value is not None
                calls.append((head["name"], _arguments(head, value)))
                raw.append(split_raw(head, value)[1])
                answer = (answers or {}).get(head["name"])
                if callable(answer):
                    answer = answer(calls[-1][1])
                reply = {"op": "answer", "job": job, "call": head["call"]}
                if isinstance(answer, tuple):
                    self.send({**reply, "error": {"type": answer[0], "text": answer[1]}}, b"null")
                elif isinstance(answer, Content):
                    meta = json.dumps({"is_text": answer.is_text}).encode()
                    self.send({**reply, "raw_bytes": len(answer.content)}, meta + answer.content)
                else:
                    self.send(reply, json.dumps(answer).encode())
            else:
                assert head["op"] == "end", head
                return Ended(head, None if value is None else json.loads(value), log, calls, raw)

    def kill(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait_exit(self) -> int:
        """Waits for the process's end; answers waitpid's status."""
        readable, _, _ = select.select([self.pidfd], [], [], PATIENCE_S)
        assert readable, "the worker did not end"
        message, _ = self.zygote.wait_for("exited", worker=self.number)
        return int(message["status"])

    def close(self) -> None:
        self.socket.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


@dataclass
class Content:
    """What file.get is answered with."""

    content: bytes
    is_text: bool


def _arguments(head: dict[str, Any], value: bytes | bytearray) -> Any:
    """A call's arguments, with what it carried as it is where one looks for it."""
    text, raw = split_raw(head, value)
    arguments = json.loads(text)
    if head["name"] == "child.start":
        arguments["inputs"] = json.loads(raw)
    elif head["name"] == "file.save":
        arguments["content"] = raw.decode() if arguments.pop("is_text") else raw
    return arguments


WEBHOOK_INPUT = {
    "method": "POST",
    "path": "/api/webhook/acme/signup",
    "query": {"debug": "1"},
    "headers": {"x-github-event": "push", "content-type": "application/json"},
    "json": {"name": "Bob", "items": [{"qty": 2, "price": 3}, {"qty": 1, "price": 4.5}]},
}
