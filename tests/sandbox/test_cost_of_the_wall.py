"""What the wall costs, printed: a warm round trip with and without it, a new worker's start, its memory after a flow.

Times are not asserted; the memory is.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from whd.sandbox.isolation import REQUIRABLE

from .far_side import TestWorker, TestZygote
from .isolation.walled import outer_pid

FLOW = "def handler(system, this):\n    this.set_output('a', 1)\n    return this.success('done')\n"
ROUNDS, CALLS = 40, 50
WORKERS = 40
PRIVATE_BYTES = 2_500_000


def compiled(zygote: TestZygote) -> str:
    with contextlib.closing(zygote.bound()) as worker:
        return str(worker.compile(FLOW)[0]["code"])


def warm(zygote: TestZygote, worker: TestWorker) -> Callable[[], None]:
    """One call of a worker that has the flow."""
    digest = worker.load(FLOW, compiled(zygote))

    def call() -> None:
        assert worker.finish(worker.start(digest, {})).status == "ENDED_SUCCESS"

    for _ in range(200):
        call()
    return call


def test_a_warm_round_trip(shared_zygote: TestZygote, capsys: pytest.CaptureFixture[str]) -> None:
    """Turn about, so that what else the machine does meets both."""
    with contextlib.ExitStack() as stack:
        settings = {"wall": {"skip": [name for name in REQUIRABLE if name != "closed_fds"]}}
        zygotes = {"walled": shared_zygote, "bare": stack.enter_context(contextlib.closing(TestZygote(settings)))}
        ways = {
            name: warm(zygote, stack.enter_context(contextlib.closing(zygote.bound())))
            for name, zygote in zygotes.items()
        }
        took_us: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, call in ways.items():
                for _ in range(CALLS):
                    begin = time.perf_counter()
                    call()
                    took_us[name].append(1e6 * (time.perf_counter() - begin))
    walled, without = (statistics.median(took_us[name]) for name in ("walled", "bare"))
    with capsys.disabled():
        print(f" [{walled:.1f} us walled, {without:.1f} without, the wall {walled - without:+.1f}]", end="")


def private_bytes(worker: TestWorker) -> int:
    """Memory that the process shares with no other, from proc(5), smaps_rollup."""
    try:
        text = Path(f"/proc/{outer_pid(worker.pidfd)}/smaps_rollup").read_text()
    except PermissionError:
        pytest.skip("only root may see how much memory a process that is not dumpable uses")
    return 1024 * sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


def test_a_new_worker(shared_zygote: TestZygote, capsys: pytest.CaptureFixture[str]) -> None:
    """Ready: forked, walled, bound, its filter installed, the answer to its first frame here."""
    code = compiled(shared_zygote)
    ready_ms, sizes = [], []
    for _ in range(WORKERS):
        begin = time.perf_counter()
        with contextlib.closing(shared_zygote.bound()) as worker:
            worker.send({"op": "check", "job": 1, "max_depth": 200}, b"{}")
            assert worker.receive()[0]["op"] == "checked"
            ready_ms.append(1e3 * (time.perf_counter() - begin))
            worker.finish(worker.start(worker.load(FLOW, code), {}))
            sizes.append(private_bytes(worker))
    with capsys.disabled():
        print(f" [ready in {statistics.median(ready_ms):.2f} ms, {statistics.median(sizes) / 1e6:.2f} MB]", end="")
    assert statistics.median(sizes) < PRIVATE_BYTES
