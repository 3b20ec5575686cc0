"""Async accepts: each record on disk before its 202; how many a second, and how many the disk alone could sync."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import report, runs, targets
from bench.scaling.context import Context, folder, middle
from bench.sheet import Goal, Section

CONNECTIONS = 64
PATH = targets.PATH + "?async"
END_TIMEOUT_S = 300.0


def syncs_per_s(place: Path, seconds: float = 0.5) -> float:
    """How often the disk of `place` syncs 4 KiB that were appended to a file: what one accept to one sync could do."""
    descriptor = os.open(place / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            count += 1
        return count / (time.perf_counter() - begun)
    finally:
        os.close(descriptor)


def wait_ended(server: targets.Running) -> float:
    """Waits until no accepted execution is left; gives the seconds. Raises runs.BenchError for one that failed."""
    begun = time.perf_counter()
    for status in ("RUNNING", "PENDING"):
        while _listed(server, status):
            if time.perf_counter() - begun > END_TIMEOUT_S:
                raise runs.BenchError(f"accepted executions had not ended after {END_TIMEOUT_S:.0f} s")
            time.sleep(0.2)
    # One may have gone from PENDING to RUNNING between the two looks.
    while _listed(server, "RUNNING"):
        time.sleep(0.05)
    if failed := _listed(server, "ENDED_ERROR"):
        raise runs.BenchError(f"an accepted execution failed: {failed[0]}")
    return time.perf_counter() - begun


def _listed(server: targets.Running, status: str) -> list[Any]:
    arguments = ("executions", "list", "--json", "--limit", "1", "--status", status)
    command = targets.daemon_command(server.folder, server.port, *arguments)
    done = subprocess.run(command, cwd=targets.ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise runs.BenchError(f"whd executions list: {done.stderr[:300]}")
    found: list[Any] = json.loads(done.stdout)
    return found


def measure(context: Context) -> Section:
    """The section."""
    cells = []
    waited = []
    with folder() as place:
        # More is accepted than is run at the same time; what is measured is the accepting.
        context.write(place, ("max_queue: 1000000",))
        syncs = syncs_per_s(place)
        with context.daemon(place) as server:
            for number in range(context.common.rounds):
                context.progress.step(f"accepts: round {number + 1}")
                cells.append(context.load(server, CONNECTIONS, path=PATH, check="accepted"))
                waited.append(wait_ended(server))
    rates = [cell["answered_per_s"] for cell in cells]
    context.noise.add_rounds(rates)
    rate = middle(rates)
    p50, p99 = (middle([cell["latency_ms"][name] or 0.0 for cell in cells]) for name in ("p50", "p99"))
    line = [str(CONNECTIONS), report.per_s(rate), report.ms(p50), report.ms(p99), report.per_s(syncs)]
    return Section(
        "accepts",
        "Async accepts",
        f"202s over {CONNECTIONS} connections, closed loop, each sent after its record was synced; the flows run "
        "meanwhile, and all were seen to end well. Disk: how often it syncs one 4 KiB append, one after the other. "
        "max_queue is raised, since more is accepted than is run.",
        (["connections", "accepted/s", "p50 ms", "p99 ms", "disk syncs/s"], [line]),
        goals=[
            Goal("at least 3,000 accepts/s at 64 connections", f"{rate:,.0f}/s", rate >= 3000),
            Goal("p99 under 100 ms", f"{p99:.1f} ms", p99 < 100),
        ],
        figures={"cells": cells, "disk_syncs_per_s": syncs, "backlog_ended_s": waited},
    )
