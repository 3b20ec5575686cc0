"""Connections: 1 … 1,024, closed loop; and the floor over as many."""

from __future__ import annotations

from typing import Any

from bench import report
from bench.scaling.context import Context, folder, middle, ratio
from bench.sheet import Chart, Section

FLOOR = "worker"


def counts(context: Context) -> tuple[int, ...]:
    """How many connections."""
    return (1, 16, 256) if context.common.quick else (1, 4, 16, 64, 256, 1_024)


def measure(context: Context) -> Section:
    """The section."""
    cells: dict[str, dict[int, list[dict[str, Any]]]] = {"whd": {}, FLOOR: {}}
    with folder() as place:
        # Each client's queue must hold a call of every connection.
        context.write(place, (f"max_queue: {2 * counts(context)[-1]}",))
        with context.daemon(place) as server, context.floor(FLOOR) as floor:
            for number in range(context.common.rounds):
                for count in counts(context):
                    for one in (server, floor):
                        context.progress.step(f"connections: round {number + 1}, {one.target.name}, {count:,}")
                        cell = context.load(one, count)
                        cells[one.target.name].setdefault(count, []).append(cell)

    def rates(name: str, count: int) -> list[float]:
        return [cell["answered_per_s"] for cell in cells[name][count]]

    lines = []
    for count in counts(context):
        context.noise.add_rounds(rates("whd", count))
        ours = cells["whd"][count]
        share = ratio(rates("whd", count), rates(FLOOR, count))
        p99 = [cell["latency_ms"]["p99"] or 0.0 for cell in ours]
        middles = [report.ms(middle([cell["latency_ms"]["p50"] or 0.0 for cell in ours])), report.ms(middle(p99))]
        rate = report.per_s(middle(rates("whd", count)))
        lines.append([f"{count:,}", rate, *middles, report.per_s(middle(rates(FLOOR, count))), report.times(share)])
    return Section(
        "connections",
        f"Connections: 1 to {counts(context)[-1]:,}",
        "Closed loop: each connection sends again as soon as it is answered, so latency grows with their number. "
        "The floor: h11 + one warm worker.",
        (["connections", "calls/s", "p50 ms", "p99 ms", "floor calls/s", "x"], lines),
        charts=[
            Chart(
                "Throughput",
                "connections",
                "calls per second",
                {
                    name: [(float(count), middle(rates(target, count))) for count in counts(context)]
                    for target, name in (("whd", "whd"), (FLOOR, "floor"))
                },
                log_x=True,
            )
        ],
        figures={"cells": cells},
    )
