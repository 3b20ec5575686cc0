"""A daemon whose workers do what they like: the wall and the language layer are taken away, what is left is the pool.

`HostileDaemon` is the real daemon, but its zygote is the small one of this file (started by the name `zygote`): it forks
workers that run a flow's source as plain Python, with the daemon's socket in hand. In such a flow

  job, head, inputs      the `run` frame's number, head and value
  send(head, value)      writes a frame
  raw(data)              writes bytes
  receive()              the next frame from the daemon: head, value
  stream                 the socket itself
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTROL_FD = 3


def start_hostile_zygote(_settings: dict[str, Any], **_options: Any) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """In the place of whd.sandbox.launch.start_zygote."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, "zygote", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env={"PYTHONPATH": str(ROOT)},
        )
    return process, ours


def serve_as_zygote(control: socket.socket) -> None:
    """whd.sandbox.zygote's protocol, without any of its care."""
    layers = [{"name": name, "engaged": True, "reason": ""} for name in ("seccomp", "no_new_privs", "rlimits")]
    control.send(json.dumps({"op": "ready", "layers": layers, "failures": []}).encode())
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    workers: dict[int, int] = {}
    import select

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
            number = json.loads(text)["worker"]
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                control.close()
                serve_as_worker(socket.socket(fileno=descriptors[0]))
            os.close(descriptors[0])
            workers[pid] = number
            pidfd = os.pidfd_open(pid)
            socket.send_fds(control, [json.dumps({"op": "forked", "worker": number, "pid": pid}).encode()], [pidfd])
            os.close(pidfd)


def serve_as_worker(stream: socket.socket) -> None:
    """Answers `compile` with the source itself, and `run` by executing it."""
    from whd.wire import FrameReader, frame, split

    reader = FrameReader(1 << 30)
    waiting: list[bytes] = []
    sources: dict[tuple[str, str], str] = {}

    def receive() -> tuple[dict[str, Any], bytes | None]:
        while not waiting:
            data = stream.recv(1 << 20)
            if not data:
                os._exit(0)
            waiting.extend(reader.feed(data))
        return split(waiting.pop(0))

    def send(head: dict[str, Any], value: bytes | None = None) -> None:
        stream.sendall(frame(head, value))

    try:
        while True:
            head, value = receive()
            op = head["op"]
            if op == "compile":
                code = base64.b64encode(head["source"].encode()).decode()
                send({"op": "compiled", "hash": head["hash"], "code": code, "warnings": []})
            elif op == "code":
                sources[head["hash"], head["flow"]] = head["source"]
            elif op == "parse":
                send({"op": "parsed", "job": head["job"], "keys": []}, b'"json":null')
            elif op == "check":
                send({"op": "checked", "job": head["job"]})
            elif op == "run":
                source = sources[head["hash"], head["execution"]["flow_name"]]
                exec(
                    compile(source, "hostile", "exec"),
                    {
                        "job": head["job"], "head": head, "inputs": value, "stream": stream, "receive": receive,
                        "send": send, "raw": stream.sendall,
                    },
                )  # fmt: skip
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def main() -> None:
    """Serves as what argv says."""
    if sys.argv[1] == "zygote":
        serve_as_zygote(socket.socket(fileno=int(sys.argv[2])))
    else:
        from whd.pool import zygote

        zygote.start_zygote = start_hostile_zygote
        from whd.cli import main as whd

        del sys.argv[1]
        sys.exit(whd())


if __name__ == "__main__":
    main()
