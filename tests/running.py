"""Plays systemd for the tests: starts real daemons on free ports, waits for READY=1, ends them by pid."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whd.admin import client as control

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0

# Runs every test's daemon with so many front processes, where the test itself says nothing else (docs/processes.md):
# one, lest it be the machine's cores that decide.
PROCESSES = int(os.environ.get("WHD_TEST_PROCESSES", "1"))

KEY = "my-secret-api-key"

ECHO_FLOW = """
def handler(system, this):
    this.set_output('received', this.get('input_value')['json'])
    return this.success('all done')
"""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Asks again and again until `condition` gives something true; what it gave."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)


@dataclass
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Project:
    """A folder with config/, flows/ and state/ for one daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.flows = folder / "flows"
        self.state = folder / "state"
        self.config.mkdir(exist_ok=True)
        self.flows.mkdir(exist_ok=True)
        self.options()

    def options(self, **options: object) -> None:
        options.setdefault("processes", PROCESSES)
        self.write("config/whd.yaml", json.dumps(options))

    def write(self, name: str, text: str) -> Path:
        """Writes a file as editors do: beside it, then renamed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.rename(path)
        return path

    def users(self, client: str, users: dict[str, Any]) -> None:
        self.write(f"config/{client}/users.yaml", json.dumps(users))

    def setting(self, client: str, name: str, value: Any) -> Path:
        return self.write(f"config/{client}/settings/{name}.yaml", json.dumps(value))

    def webhook(self, client: str, name: str, **fields: Any) -> Path:
        """A webhook of user kevin; its flow has its own name unless another is given."""
        value = {"flow_name": name, "user_name": "kevin", **fields}
        return self.setting(client, f"client.webhook.{name}", value)

    def flow(self, client: str, name: str, source: str) -> Path:
        return self.write(f"flows/{client}/{name}.py", source)

    def endpoint(self, name: str, source: str = ECHO_FLOW, *, client: str = "acme", **fields: Any) -> str:
        """A webhook with a flow of its own; its path."""
        self.flow(client, fields.get("flow_name", name), source)
        self.webhook(client, name, **fields)
        return f"/api/webhook/{client}/{name}"


def simple_project(folder: Path) -> Project:
    """A project with the client acme, whose user kevin may run everything, and no webhook yet."""
    project = Project(folder)
    project.users("acme", {"kevin": {"flows": ["*"], "settings": {"read": ["app.*"]}}})
    return project


class RunningDaemon:
    """A daemon process. Everything that it logs is in `log`."""

    def __init__(
        self,
        project: Project,
        *,
        listen: tuple[str, ...] = ("127.0.0.1:0",),
        prefix: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        self.project = project
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"\0whd-test-{os.getpid()}-{id(self)}")
        self.notify.settimeout(START_TIMEOUT_S)
        self.messages: list[dict[str, str]] = []
        name = "@" + self.notify.getsockname()[1:].decode()
        self._log = (project.folder / "daemon.log").open("ab")
        command = [*prefix, sys.executable, "-m", "whd", "serve"]
        for option in ("config", "flows", "state"):
            command += [f"--{option}", str(getattr(project, option))]
        for address in listen:
            command += ["--listen", address]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": name, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def log(self) -> str:
        return (self.project.folder / "daemon.log").read_text(errors="replace")

    def wait_ready(self) -> RunningDaemon:
        self.wait_message("READY", "1")
        self.addresses = self.ask("status")["addresses"]
        host, _, port = self.addresses[0].rpartition(":")
        self.host, self.port = host.strip("[]"), int(port) if port.isdigit() else 0
        return self

    def wait_message(self, name: str, value: str) -> dict[str, str]:
        """The next notification that carries name=value."""
        deadline = time.monotonic() + START_TIMEOUT_S
        self.notify.settimeout(0.1)
        while True:
            try:
                text = self.notify.recv(65536).decode()
            except TimeoutError:
                assert self.process.poll() is None, f"the daemon ended: {self.log}"
                assert time.monotonic() < deadline, f"no {name}={value}: {self.log}"
                continue
            message = dict(line.split("=", 1) for line in text.splitlines())
            self.messages.append(message)
            if message.get(name) == value:
                return message

    def ask(self, command: str, **arguments: Any) -> Any:
        """An operation over the control socket."""
        return control.ask(self.project.state, command, arguments)

    def connect(self, timeout_s: float = 30.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request; a dict or list is sent as JSON."""
        fields = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            fields.setdefault("Content-Type", "application/json")
        own = connection or self.connect()
        try:
            own.request(method, path, body, fields)
            response = own.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            if connection is None:
                own.close()

    def get(self, path: str, **kwargs: Any) -> Answer:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Answer:
        return self.request("POST", path, body, **kwargs)

    def wait_ended(self, client: str, execution_id: str, key: str = "") -> Any:
        """The record of an execution once it has ended."""
        headers = {"X-Webhook-Key": key} if key else None

        def ended() -> Any:
            record = self.get(f"/api/execution/{client}/{execution_id}?wait=5", headers=headers).json
            return record if record["status"].startswith("ENDED") else None

        return wait_for(ended, f"the end of {execution_id}", 30.0)

    def processes(self) -> list[int]:
        """The pids of the daemon's children and theirs."""
        return descendants(self.process.pid)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of the daemon alone; what it started must notice."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_S)

    def close(self) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.notify.close()
            self._log.close()


def descendants(pid: int) -> list[int]:
    """All living processes below one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if stat[0] != "Z":
                    children.setdefault(int(stat[1]), []).append(int(entry))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


@contextlib.contextmanager
def running(project: Project, **kwargs: Any) -> Iterator[RunningDaemon]:
    """A daemon that is ready, ended afterwards; nothing that it started may outlive it."""
    daemon = RunningDaemon(project, **kwargs)
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        pids = daemon.processes()
        daemon.close()
        wait_for(lambda: not any(map(is_alive, pids)), "the daemon's processes to end")


class Stopwatch:
    """Time since it was made, in seconds, less what threads of these processes waited for a CPU meanwhile.

    Without pids: of this process. What they waited is in /proc/<pid>/task/<tid>/schedstat (Linux,
    Documentation/scheduler/sched-stats), next to nothing on a machine with CPU to spare; a bound on time has to leave
    it out, lest it measure what else the machine does.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids or (os.getpid(),)
        self._waited_ns = self._read()
        self._started = time.monotonic()

    def elapsed_s(self) -> float:
        """The time so far. What a thread waited that has ended by now is not left out."""
        elapsed_s = time.monotonic() - self._started
        return elapsed_s - sum(ns - self._waited_ns.get(tid, 0) for tid, ns in self._read().items()) / 1e9

    def _read(self) -> dict[str, int]:
        waited_ns = {}
        for pid in self._pids:
            for statistics in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError, IndexError):  # the thread ended, or the kernel does not count
                    waited_ns[statistics.parent.name] = int(statistics.read_text().split()[1])
        return waited_ns


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SIGTERM, SIGHUP, SIGINT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
