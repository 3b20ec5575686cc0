"""History: 0 … 1,000,000 executions in the store: throughput, `whd executions list`, status by id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import answers, percentiles, report, runs, targets
from bench.scaling.context import Caller, Context, caller, folder, middle, ratio
from bench.sheet import Chart, Goal, Section
from whd.model.execution import Execution, Status, new_id
from whd.model.options import Options
from whd.store import open_store
from whd.store.opening import FILE_NAME

CONNECTIONS = 16
LISTS = 5
LOOK_UPS = 200
# The executions lie this far in the past, evenly: within retention_minutes, so that none is swept out meanwhile.
SPAN_MS = 5 * 24 * 3600 * 1000
_AT_ONCE = 2_000


def counts(context: Context) -> tuple[int, ...]:
    """How many executions are there already."""
    return (0, 20_000) if context.common.quick else (0, 10_000, 100_000, 1_000_000)


async def _fill(place: Path, count: int, sample: int) -> list[str]:
    store = await open_store(place / "state", asyncio.get_running_loop(), Options)
    now_ms = time.time_ns() // 1_000_000
    ids = []
    exchange = answers.exchange("127.0.0.1", targets.PATH, 0, 0)
    given = {"method": "POST", "path": targets.PATH, "query": {}, "headers": {"content-type": "application/json"}}
    input_json = json.dumps({**given, "json": exchange.payload}).encode()
    output_json = json.dumps({"greeting": exchange.greeting, "total": exchange.total}).encode()
    for number in range(count):
        at_ms = now_ms - SPAN_MS + SPAN_MS * number // count
        execution = Execution(
            id=new_id(at_ms),
            client_name="acme",
            flow_name="order",
            user_name="kevin",
            script_hash="bench",
            input_json=input_json,
            webhook_name="order",
            key_webhook_name="order",
            status=Status.ENDED_SUCCESS,
            message="all done",
            output_json=output_json,
            created_ms=at_ms,
            started_ms=at_ms,
            ended_ms=at_ms + 1,
            attempts=1,
        )
        execution.root_id = execution.id
        store.save_nowait(execution, targets.ORDER_FLOW)
        if number % max(1, count // sample) == 0:
            ids.append(execution.id)
        if number % _AT_ONCE == _AT_ONCE - 1:
            await store.flush()
    await store.close()
    return ids


def fill(place: Path, count: int, sample: int = LOOK_UPS) -> list[str]:
    """Puts `count` ended executions of the job into the store, through the daemon's own; gives some of their ids."""
    return asyncio.run(_fill(place, count, sample)) if count else []


def list_s(server: targets.Running, expected: int) -> float:
    """`whd executions list` as a user runs it, Python's own start included; in seconds."""
    command = targets.daemon_command(server.folder, server.port, "executions", "list", "--json", "--limit", "50")
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=targets.ROOT, capture_output=True, text=True, timeout=60, check=False)
    took_s = time.perf_counter() - begun
    if done.returncode != 0 or len(json.loads(done.stdout)) != expected:
        raise runs.BenchError(f"whd executions list: {done.returncode}, {done.stdout[:200]!r} {done.stderr[:200]!r}")
    return took_s


def status_s(one: Caller, execution_id: str) -> float:
    """The status of one execution; in seconds."""
    status, body, took_s = one.ask(f"/api/execution/acme/{execution_id}")
    if status != 200 or json.loads(body)["id"] != execution_id:
        raise runs.BenchError(f"status of {execution_id}: {status} {body[:200]!r}")
    return took_s


def measure(context: Context) -> Section:
    """The section."""
    sizes = counts(context)
    throughput: dict[int, list[float]] = {size: [] for size in sizes}
    lists: dict[int, list[float]] = {size: [] for size in sizes}
    look_ups: dict[int, list[float]] = {size: [] for size in sizes}
    starts: dict[int, float] = {}
    file_mib: dict[int, float] = {}
    with contextlib.ExitStack() as stack:
        servers: dict[int, targets.Running] = {}
        for size in sizes:
            context.progress.step(f"history: writing {size:,} executions")
            place = stack.enter_context(folder())
            context.write(place)
            ids = fill(place, size)
            server = servers[size] = stack.enter_context(context.daemon(place))
            starts[size] = server.started_s
            file_mib[size] = sum(file.stat().st_size for file in (place / "state").glob(f"{FILE_NAME}*")) / 2**20
            with caller(server.port) as one:
                for _ in range(60):
                    one.job(targets.PATH)
                lists[size] = [list_s(server, 50) for _ in range(LISTS)]
                look_ups[size] = [status_s(one, each) for each in ids]
        for server in servers.values():
            context.load(server, CONNECTIONS)  # not counted: until all that is learned and cached is there
        for number in range(context.common.rounds):
            for size in sizes:
                context.progress.step(f"history: round {number + 1}, {size:,}")
                throughput[size].append(context.load(servers[size], CONNECTIONS)["answered_per_s"])
    for values in throughput.values():
        context.noise.add_rounds(values)
    first, last = sizes[0], sizes[-1]
    ratios = {size: ratio(throughput[size], throughput[first]) for size in sizes}
    summaries: dict[int, dict[str, Any]] = {size: percentiles.summary_ms(look_ups[size]) for size in sizes}
    lines = [
        [
            f"{size:,}",
            report.per_s(middle(throughput[size])),
            report.times(ratios[size]),
            report.ms(middle(lists[size]) * 1e3),
            report.ms(summaries[size]["p50"]),
            report.ms(summaries[size]["p99"]),
            report.ms(starts[size] * 1e3),
            f"{file_mib[size]:,.1f}",
        ]
        for size in sizes
    ]
    list_ms, status_ms = middle(lists[last]) * 1e3, summaries[last]["p50"] or 0.0
    head = ["executions", "calls/s", "x the first", "list ms", "status p50 ms", "p99", "start-up ms", "store MiB"]
    return Section(
        "history",
        f"History: {first:,} to {last:,} executions in the store",
        f"Calls over {CONNECTIONS} connections; `whd executions list` as a command, the start of Python included "
        f"(median of {LISTS}); the status of {LOOK_UPS} executions from all over the store, one after the other.",
        (head, lines),
        goals=[
            Goal(
                f"{last:,} executions: throughput at least 0.9 x an empty store's",
                f"{ratios[last]:.2f} x",
                ratios[last] >= 0.9,
            ),
            Goal("`whd executions list` under 200 ms", f"{list_ms:.0f} ms", list_ms < 200),
            Goal(
                "status by id under 2 ms (p50)", f"{report.ms(status_ms)} ms", status_ms is not None and status_ms < 2
            ),
        ],
        charts=[
            Chart(
                "Throughput",
                "executions in the store",
                "calls per second",
                {"whd": [(float(max(size, 1)), middle(throughput[size])) for size in sizes]},
                log_x=True,
            )
        ],
        figures={
            "throughput": throughput,
            "list_s": lists,
            "status_ms": summaries,
            "start_s": starts,
            "store_mib": file_mib,
        },
    )
