"""What is measured: the daemon, the floors and other servers, each started, asked whether it does the job, and ended.

A target runs as a process of its own, on 127.0.0.1 and a free port, in a temporary folder; whd and the floors run with
this Python.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import answers, machine

ROOT = Path(__file__).resolve().parent.parent
PATH = "/api/webhook/acme/order"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0

ORDER_FLOW = """\
def handler(system, this):
    data = this.get('input_value')['json']
    total = sum(item['qty'] * item['price'] for item in data['items'])
    this.set_output('greeting', 'Hello ' + data['name'])
    this.set_output('total', total)
    return this.success('all done')
"""

# Not the daemon's own environment: it must neither notify our supervisor nor take our sockets.
_SUPERVISOR_VARIABLES = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")


class TargetError(Exception):
    """A target did not start, gave a wrong answer or ended badly; the text says which and what it said."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server that is neither whd nor a floor is started: it must stay in the foreground, on the given port."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be measured. `check` is what its answers must be (bench/answers.py).

    `launch`: for a server that is neither whd nor a floor, how it is started, given a folder for its files and a port.
    `path`: where its job is. `refusal`: the status with which it refuses a wrong key.
    """

    name: str
    title: str
    check: str
    launch: Callable[[Path, int], Launch] | None = None
    path: str = PATH
    refusal: int = 401
    start_timeout_s: float = START_TIMEOUT_S


WHD = Target("whd", "whd", "execution")
FLOORS = (
    Target("raw", "floor: raw uvloop, fixed answer", "fixed"),
    Target("h11", "floor: h11 alone, fixed answer", "fixed"),
    Target("worker", "floor: h11 + one warm worker", "job"),
    Target("fork", "floor: h11 + fork per call", "job"),
)
TARGETS = (WHD, *FLOORS)

# The floor that others are compared with first.
REFERENCE = "worker"


@dataclass(frozen=True, slots=True)
class Running:
    """A started target. `started_s`: from its start until it was ready. `folder`: its files, config/ of whd."""

    target: Target
    pid: int
    port: int
    script: Path | None
    started_s: float = 0.0
    folder: Path = Path()

    @property
    def url(self) -> str:
        """Where its job is."""
        return f"http://127.0.0.1:{self.port}{self.target.path}"


@contextlib.contextmanager
def running(target: Target, cpus: set[int] | None, options: tuple[str, ...] = ()) -> Iterator[Running]:
    """Starts a target on those CPUs, verifies it, and ends it. `options` are lines of whd.yaml. Raises TargetError."""
    with tempfile.TemporaryDirectory(prefix="whd-bench-") as name:
        folder = Path(name)
        if target is WHD:
            write_config(folder, options)
            start = daemon(folder, cpus)
        elif target.launch is not None:
            start = _launched(target, target.launch, folder, cpus)
        else:
            start = floor(target, folder, cpus)
        with start as server:
            verify(server)
            yield server


# The floors ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def floor(target: Target, folder: Path, cpus: set[int] | None) -> Iterator[Running]:
    """One of bench/floors.py, not verified. Raises TargetError."""
    said = folder / "stderr"
    begun = time.perf_counter()
    command = [machine.python_command(), str(ROOT / "bench" / "floors.py"), target.name]
    with said.open("wb") as stderr, machine.affinity(cpus):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        if not address:
            raise TargetError(f"{target.title} did not start: {_tail(said)}")
        port = int(address.rpartition(":")[2])
        yield Running(target, process.pid, port, None, time.perf_counter() - begun, folder)
    finally:
        _stop(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    _ended_well(process, target, said)


# The daemon ------------------------------------------------------------------------------------------------------


def write_config(folder: Path, options: tuple[str, ...] = ()) -> Path:
    """config/ and flows/ of one client with one webhook and the flow of the job; gives the flow's file."""
    settings = folder / "config" / "acme" / "settings"
    settings.mkdir(parents=True)
    (folder / "config" / "acme" / "users.yaml").write_text("kevin:\n  flows: [order]\n")
    (settings / "client.webhook.order.yaml").write_text(f"flow_name: order\nuser_name: kevin\nkey: {answers.KEY}\n")
    # The file holds a key; `whd check` warns of one that others can read.
    (settings / "client.webhook.order.yaml").chmod(0o600)
    if options:
        (folder / "config" / "whd.yaml").write_text("".join(line + "\n" for line in options))
    flow = folder / "flows" / "acme" / "order.py"
    flow.parent.mkdir(parents=True)
    flow.write_text(ORDER_FLOW)
    return flow


def daemon_command(folder: Path, port: int, *arguments: str) -> list[str]:
    """whd on the files of `folder`, as write_config makes them: `serve` on that port, or the `arguments` instead."""
    command = [machine.python_command(), "-m", "whd"]
    command += arguments or ("serve", "--listen", f"127.0.0.1:{port}")
    for place in ("config", "flows", "state"):
        command += [f"--{place}", str(folder / place)]
    return command


@contextlib.contextmanager
def daemon(
    folder: Path,
    cpus: set[int] | None,
    *,
    program: tuple[str, ...] = (),
    target: Target = WHD,
    checkout: Path = ROOT,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """whd on the files of `folder`, ready to serve. Raises TargetError.

    `program`: what stands in for `-m whd`. `target`: what it is called in a report with several. `checkout`: the folder
    that it is started in, whose whd/ runs. `environment`: added to ours.
    """
    port = free_port()
    said = folder / "stderr"
    command = daemon_command(folder, port)
    if program:
        command[1:3] = program
    begun = time.perf_counter()
    process = _spawn(command, said, cpus, cwd=checkout, environment=environment)
    try:
        _wait_until_ready(process, target, port, said)
        flow = folder / "flows" / "acme" / "order.py"
        yield Running(target, process.pid, port, flow, time.perf_counter() - begun, folder)
    finally:
        _stop(process)
    _ended_well(process, target, said)


def _spawn(
    command: list[str], said: Path, cpus: set[int] | None, *, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name not in _SUPERVISOR_VARIABLES}
    with said.open("wb") as stderr, machine.affinity(cpus):
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], target: Target, port: int, said: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    status, body = 0, b""
    while status != 200:
        if process.poll() is not None:
            raise TargetError(
                f"{target.title} ended with exit status {process.returncode} while starting: {_tail(said)}"
            )
        if time.monotonic() > deadline:
            raise TargetError(
                f"{target.title} was not ready within {START_TIMEOUT_S:.0f} s (/readyz: {status}): {_tail(said)}"
            )
        try:
            status, body = ask(port, "/readyz")
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
    if b"degraded" in body:
        raise TargetError(f"{target.title} is ready but degraded, {body.decode('utf-8', 'replace')}: {_tail(said)}")


# Other servers -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _launched(
    target: Target, launch: Callable[[Path, int], Launch], folder: Path, cpus: set[int] | None
) -> Iterator[Running]:
    port = free_port()
    said = folder / "stderr"
    how = launch(folder, port)
    environment = {"PORT": str(port), "HOOK_KEY": answers.KEY, **how.environment}
    begun = time.perf_counter()
    try:
        process = _spawn(how.command, said, cpus, cwd=folder, environment=environment)
    except OSError as error:
        raise TargetError(f"{target.title} did not start: {error}") from error
    try:
        body = answers.exchange("127.0.0.1", target.path, 0, 0).request.partition(b"\r\n\r\n")[2]
        deadline = time.monotonic() + target.start_timeout_s
        status, answer = 0, b""
        # JSON too: n8n answers 200 and a sentence on every path while it starts.
        while status != 200 or not _is_json(answer):
            if process.poll() is not None:
                raise TargetError(f"{target.title} ended with {process.returncode} while starting: {_tail(said)}")
            if time.monotonic() > deadline:
                waited, last = f"{target.start_timeout_s:.0f} s", f"status {status}, {answer[:200]!r}"
                raise TargetError(f"{target.title} did no job within {waited} ({last}): {_tail(said)}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = ask(port, target.path, body)
            time.sleep(0.002)
        yield Running(target, process.pid, port, None, time.perf_counter() - begun, folder)
        if process.poll() is not None:
            raise TargetError(f"{target.title} ended with {process.returncode} while it was measured: {_tail(said)}")
    finally:
        _stop(process)


# Asking and ending -----------------------------------------------------------------------------------------------


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own: GET, or POST of a JSON body. Gives status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def verify(server: Running) -> None:
    """Asks the target for one job, and with a wrong key for another. Raises TargetError."""
    target = server.target
    right = answers.exchange("127.0.0.1", target.path, 0, 0)
    wrong = answers.exchange("127.0.0.1", target.path, 0, 0, key="wrong")
    try:
        status, body = ask(server.port, target.path, right.request.partition(b"\r\n\r\n")[2])
        document: Any = json.loads(body)
        script = server.script.read_text() if server.script else None
        fault = answers.fault_in(document, right, target.check, script) if status == 200 else f"status {status}"
        if fault is not None:
            raise TargetError(f"{target.title}: wrong answer: {fault}: {body[:300]!r}")
        if target.check == "fixed":
            return
        status, body = ask(server.port, target.path, wrong.request.partition(b"\r\n\r\n")[2])
        refused = status == target.refusal and b"output_value" not in body
        if not refused or (target.launch is None and json.loads(body).get("code") != "invalid_key"):
            raise TargetError(
                f"{target.title}: a wrong key was not refused with {target.refusal}, but: {status} {body[:300]!r}"
            )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TargetError(f"{target.title}: no proper answer: {error}") from error


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, time to end, and then SIGKILL for it and for whatever it started."""
    if process.poll() is not None:
        return
    members = machine.process_tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _ended_well(process: subprocess.Popen[bytes], target: Target, said: Path) -> None:
    if process.returncode != 0:
        raise TargetError(f"{target.title} ended with exit status {process.returncode}: {_tail(said)}")


def _tail(said: Path) -> str:
    text = said.read_text(errors="replace").strip()
    return text[-1500:] or "it said nothing"
