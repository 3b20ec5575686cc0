"""An open loop at 70 % of the maximum for a while: tails, errors, and whether memory grows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import machine, report, runs, targets
from bench.scaling.context import Context, folder
from bench.sheet import Chart, Goal, Section

CONNECTIONS = 64
SHARE = 0.7
FLOOR = "worker"
SETTLE_S = 10.0
SAMPLE_EVERY_S = 2.0


def soak_s(context: Context) -> float:
    """How long."""
    return 12.0 if context.common.quick else max(60.0, context.common.seconds)


def run(
    context: Context, server: targets.Running, rate: float, seconds: float
) -> tuple[dict[str, Any], list[tuple[float, float]]]:
    """A run at that rate, and the server's memory meanwhile: seconds since its start, MiB."""
    plan = runs.Load(CONNECTIONS, seconds, context.common.warm_s, rate=rate, cpu=context.common.load_cpu)
    memory = []
    with ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        running = pool.submit(runs.load, server, plan)
        while not running.done():
            memory.append((time.monotonic() - begun, machine.memory_bytes(server.pid) / 2**20))
            time.sleep(SAMPLE_EVERY_S)
        return context.noise.add(running.result()), memory


def growth_mib(memory: list[tuple[float, float]], settle_s: float = SETTLE_S) -> float | None:
    """By how much memory was larger at the end than when it had settled; None if it ended before."""
    settled = [mib for at, mib in memory if at >= settle_s]
    return settled[-1] - settled[0] if len(settled) > 1 else None


def measure(context: Context) -> Section:
    """The section."""
    seconds = soak_s(context)
    with folder() as place:
        context.write(place)
        with context.daemon(place) as server, context.floor(FLOOR) as floor:
            context.progress.step("soak: the maxima")
            maxima = [context.load(one, CONNECTIONS)["answered_per_s"] for one in (server, floor)]
            context.progress.step(f"soak: {seconds:.0f} s at {SHARE:.0%}")
            ours, memory = run(context, server, SHARE * maxima[0], seconds)
            context.progress.step("soak: the floor")
            theirs, _ = run(context, floor, SHARE * maxima[1], min(seconds, 20.0))
    lines = []
    for name, cell in (("whd", ours), ("floor: h11 + one warm worker", theirs)):
        latency = cell["latency_ms"]
        middles = [report.ms(latency[each]) for each in ("p50", "p90", "p99", "p99.9", "max")]
        saturated = "saturated" if cell["saturated"] else ""
        lines.append(
            [name, report.per_s(cell["offered_per_s"]), report.per_s(cell["answered_per_s"]), *middles, saturated]
        )
    growth = growth_mib(memory)
    p50, tail, floor_tail = ours["latency_ms"]["p50"], ours["latency_ms"]["p99.9"], theirs["latency_ms"]["p99.9"]
    goals = [Goal("no errors", "none", True)]
    if p50 is None or tail is None:
        goals.append(Goal("p99.9 under 20 x p50, or 2 x the floor's", "too few calls", None))
    else:
        text = f"{tail / p50:.1f} x p50" + (f", {tail / floor_tail:.2f} x the floor's" if floor_tail else "")
        met = tail < 20 * p50 or (floor_tail is not None and tail < 2 * floor_tail)
        goals.append(Goal("p99.9 under 20 x p50, or 2 x the floor's", text, met))
    text = "too short to tell" if growth is None else f"{growth:+.1f} MiB"
    goals.append(
        Goal("memory grows by less than 8 MiB after the first 10 s", text, None if growth is None else growth < 8)
    )
    head = ["", "offered/s", "answered/s", "p50 ms", "p90", "p99", "p99.9", "max", ""]
    return Section(
        "soak",
        f"{seconds:.0f} s at {SHARE:.0%} of the maximum",
        f"Open loop over {CONNECTIONS} connections at {SHARE:.0%} of what each did in a closed loop just before; "
        "latency counts from the time at which a request was due. Memory: PSS of all the daemon's processes.",
        (head, lines),
        goals=goals,
        charts=[Chart("Memory", "seconds", "MiB", {"whd": memory})],
        figures={"whd": ours, "floor": theirs, "memory_mib": memory, "growth_mib": growth},
    )
