"""A daemon whose workers do what they like: wall and language layer are taken away, what is left is the pool.

`hostile_daemon` is the real daemon, but its zygote is the small one of this file: it forks workers that execute a
flow's source as plain Python, with the daemon's socket in hand. Such a flow finds

  job, head, inputs        the `run` frame's number, head and value
  send(head, value)        writes a frame
  call(number, name, text, raw=b"") writes a `call` frame
  end(output, body, **members)  writes a well-formed `end` frame, with members added or replaced
  framed(head, value)      a frame's bytes, and raw(data) to write bytes
  receive()                the next frame from the daemon: head, value
  stream                   the socket itself
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("seccomp", "no_new_privs", "rlimits")
BOUNDS = "WHD_TEST_BOUNDS"


@contextlib.contextmanager
def hostile_daemon(project: Any, **bounds: int) -> Iterator[Any]:
    """A running daemon with hostile workers; `bounds` are fixed ones of whd.pool.frames, made small."""
    from tests.running import running

    environ = {BOUNDS: json.dumps(bounds)}
    with running(project, prefix=(sys.executable, __file__), environ=environ) as daemon:
        yield daemon


# ---- in the daemon's process -----------------------------------------------------------------------------------------


def start_hostile_zygote(_settings: dict[str, Any], **_options: Any) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """In the place of whd.sandbox.launch.start_zygote."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, "zygote", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    return process, ours


def serve_as_daemon(arguments: list[str]) -> None:
    """`arguments`: python -m whd serve …, as the daemon would have been started."""
    from whd.cli import main
    from whd.pool import frames_in as frames
    from whd.pool import zygote

    vars(zygote)["start_zygote"] = start_hostile_zygote
    vars(frames).update(json.loads(os.environ.pop(BOUNDS)))
    sys.argv = ["whd", *arguments[arguments.index("whd") + 1 :]]
    sys.exit(main())


# ---- the zygote ------------------------------------------------------------------------------------------------------


def serve_as_zygote(control: socket.socket) -> None:
    """whd.sandbox.zygote's protocol, without any of its care."""
    layers = [{"name": name, "engaged": True, "reason": ""} for name in LAYERS]
    control.send(json.dumps({"op": "ready", "layers": layers, "failures": []}).encode())
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    workers: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if woken in ready:
            os.read(woken, 4096)
        while workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            control.send(json.dumps({"op": "exited", "worker": workers.pop(pid), "status": status}).encode())
        if control.fileno() in ready:
            text, descriptors, _flags, _address = socket.recv_fds(control, 65_536, 1)
            if not text:
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            _fork(control, json.loads(text)["worker"], descriptors[0], workers)


def _fork(control: socket.socket, number: int, stream_fd: int, workers: dict[int, int]) -> None:
    pid = os.fork()
    if not pid:
        signal.set_wakeup_fd(-1)
        control.close()
        serve_as_worker(socket.socket(fileno=stream_fd))
    os.close(stream_fd)
    workers[pid] = number
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [json.dumps({"op": "forked", "worker": number, "pid": pid}).encode()], [pidfd])
    os.close(pidfd)


# ---- the workers -----------------------------------------------------------------------------------------------------


def serve_as_worker(stream: socket.socket) -> None:
    """Answers `compile` with the source itself, and `run` by executing it."""
    from whd.wire.frames import RUN, FrameReader, frame, read_run, split

    reader = FrameReader(1 << 30)
    waiting: list[bytes | bytearray] = []
    sources: dict[tuple[str, str], str] = {}
    contexts: dict[int, tuple[str, str]] = {}

    def receive() -> tuple[dict[str, Any], bytes | bytearray | None]:
        while not waiting:
            data = stream.recv(1 << 20)
            if not data:
                os._exit(0)
            waiting.extend(reader.feed(data))
        payload = waiting.pop(0)
        if payload[0] == RUN:
            order, start = read_run(payload)
            return {"op": "run", **order._asdict()}, payload[start:]
        return split(payload)

    def send(head: dict[str, Any], value: bytes | None = None) -> None:
        stream.sendall(frame(head, value))

    def run(head: dict[str, Any], value: bytes | bytearray | None) -> None:
        job = head["job"]

        def end(output: bytes = b"{}", body: bytes = b"", **members: Any) -> None:
            known = {"op": "end", "job": job, "status": "ENDED_SUCCESS", "message": "", "took_us": 5}
            if "response" in members:
                known["output_bytes"] = len(output)
            send({**known, **members}, output + body)

        def call(number: int, name: str, text: str, raw: bytes = b"") -> None:
            head = {"op": "call", "job": job, "call": number, "name": name, "raw_bytes": len(raw)}
            send(head, text.encode() + raw)

        source = sources[contexts[head["context"]]]
        names = {"job": job, "head": head, "inputs": value, "stream": stream, "receive": receive, "send": send}
        exec(
            compile(source, "hostile", "exec"),
            {**names, "call": call, "end": end, "framed": frame, "raw": stream.sendall},
        )

    try:
        while True:
            head, value = receive()
            op = head["op"]
            if op == "compile":
                code = base64.b64encode(head["source"].encode()).decode()
                send({"op": "compiled", "hash": head["hash"], "code": code, "warnings": []})
            elif op == "code":
                sources[head["hash"], head["flow"]] = head["source"]
            elif op == "context":
                contexts[head["number"]] = head["hash"], head["flow"]
            elif op == "parse":
                send({"op": "parsed", "job": head["job"], "keys": []}, head["start"].encode() + b'"json":null}')
            elif op == "check":
                send({"op": "checked", "job": head["job"]})
            elif op == "run":
                run(head, value)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "zygote":
        serve_as_zygote(socket.socket(fileno=int(sys.argv[2])))
    else:
        serve_as_daemon(sys.argv[1:])
