"""What the sections share: settings, the noise, progress, files for a daemon, and small closed-loop clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import answers, machine, percentiles, runs, targets
from bench.progress import Progress
from bench.sheet import Noise

KEY_HEADER = {"X-Webhook-Key": answers.KEY}

LENGTH_FLOW = """\
def handler(system, this):
    given = this.get('input_value')
    length = len(given['data']) if given['json'] is None else len(given['json']['text']) + len('{"text":""}')
    return this.webhook_json_response({'length': length})
"""


@dataclass(slots=True)
class Context:
    """A command's settings, and what it takes note of."""

    common: runs.Common
    noise: Noise
    progress: Progress

    def load(self, server: targets.Running, connections: int, **changes: Any) -> dict[str, Any]:
        """One run of the load generator. Raises runs.BenchError for any error in it."""
        common = self.common
        plan: dict[str, Any] = {"seconds": common.seconds, "warm_s": common.warm_s, "cpu": common.load_cpu, **changes}
        return self.noise.add(runs.load(server, runs.Load(connections, **plan)))

    @contextlib.contextmanager
    def watch(self, server: targets.Running) -> Iterator[None]:
        """Takes note of the noise while something other than the load generator is measured, in our turn."""
        with runs.turn():
            before = machine.sample(server.pid)
            yield
            self.noise.add(machine.between(before, machine.sample(server.pid)))

    @contextlib.contextmanager
    def daemon(self, folder: Path) -> Iterator[targets.Running]:
        """whd on the files of `folder`."""
        with targets.daemon(folder, self.common.server_cpus) as server:
            yield server

    @contextlib.contextmanager
    def floor(self, name: str) -> Iterator[targets.Running]:
        """A floor; it is not asked for the job."""
        with tempfile.TemporaryDirectory(prefix="whd-bench-") as folder:
            title = {"length": "floor: h11 that reads the payload", "worker": "floor: h11 + one warm worker"}[name]
            target = targets.Target(name, title, "length" if name == "length" else "job")
            with targets.floor(target, Path(folder), self.common.server_cpus) as server:
                yield server

    def write(self, folder: Path, extra: tuple[str, ...] = ()) -> None:
        """The job's files; a later option of the same name than `extra`'s wins."""
        lines = {line.partition(":")[0]: line for line in (*extra, *self.common.options)}
        targets.write_config(folder, tuple(lines.values()))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for a daemon's files, where $TMPDIR says; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="whd-scale-") as name:
        yield Path(name)


def add_webhook(place: Path, client: str, webhook: str, flow: str = "order", *, source: str | None = None) -> None:
    """Another webhook, with its flow if `source` is given."""
    settings = place / "config" / client / "settings"
    if not settings.is_dir():
        settings.mkdir(parents=True)
        (settings.parent / "users.yaml").write_text('kevin:\n  flows: ["*"]\n')
        (place / "flows" / client).mkdir(parents=True, exist_ok=True)
    setting = settings / f"client.webhook.{webhook}.yaml"
    setting.write_text(f"flow_name: {flow}\nuser_name: kevin\nkey: {answers.KEY}\n")
    setting.chmod(0o600)
    if source is not None:
        (place / "flows" / client / f"{flow}.py").write_text(source)


class Caller:
    """One keep-alive connection of a caller that does one thing after the other. Close it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, float]:
        """GET, or POST of a JSON body; gives status, body and how long it took in seconds."""
        all_headers = {**KEY_HEADER, "Content-Type": "application/json", **headers}
        begun = time.perf_counter()
        self._connection.request("GET" if body is None else "POST", path, body, all_headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, text, time.perf_counter() - begun

    def job(self, path: str) -> float:
        """One job; how long it took in seconds. Raises runs.BenchError if the answer is not right."""
        exchange = answers.exchange("127.0.0.1", path, 0, 0)
        status, body, took_s = self.ask(path, exchange.request.partition(b"\r\n\r\n")[2])
        fault = answers.fault_in(json.loads(body), exchange, "execution") if status == 200 else f"status {status}"
        if fault is not None:
            raise runs.BenchError(f"{path}: {fault}: {body[:300]!r}")
        return took_s

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


@contextlib.contextmanager
def caller(port: int) -> Iterator[Caller]:
    """A Caller that is closed afterwards."""
    one = Caller(port)
    try:
        yield one
    finally:
        one.close()


def middle(values: Sequence[float]) -> float:
    """The median of what is there."""
    return percentiles.median(list(values)) or 0.0


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return middle([one / other for one, other in zip(ours, theirs, strict=True) if other])


def memory_mib(server: targets.Running) -> float:
    """What all its processes hold of their own (PSS, without files: other daemons that run beside it map the same)."""
    return machine.memory_bytes(server.pid, "Pss_Anon") / 2**20
