"""Parked flows: callers at once whose flows sleep, how long beyond the sleep the last one waits, and the memory.

What is measured, and how, is parked.py's.
"""

from __future__ import annotations

from bench import parked, report
from bench.scaling.context import Context, middle
from bench.sheet import Chart, Goal, Section

GOAL_CALLS = 1_000
GOAL_S = 8.0
GOAL_BYTES = 3 * 2**30


def settings(context: Context) -> parked.Settings:
    """How many callers, how long their flows sleep, how often."""
    if context.common.quick:
        return parked.Settings((100,), 1.0, 1, memory=True)
    return parked.Settings((GOAL_CALLS, 2 * GOAL_CALLS), 5.0, min(3, context.common.rounds), memory=True)


def measure(context: Context) -> Section:
    """The section."""
    asked = settings(context)
    rows = parked.measure(asked, context.progress, context.common.options)
    lines, goals = [], []
    last_s: list[tuple[float, float]] = []
    for row in rows:
        for one in row["rounds"]:
            context.noise.add(one)
        calls, last = row["calls"], middle([one["last_s"] for one in row["rounds"]])
        first = middle([one["first_s"] for one in row["rounds"]])
        held = row.get("pss_bytes")
        gib = f"{held / 2**30:.2f}" if held else "-"
        beyond_ms = (last - asked.seconds) / calls * 1e3
        lines.append([f"{calls:,}", f"{first:.2f}", f"{last:.2f}", report.ms(beyond_ms), gib])
        last_s.append((float(calls), last))
        if (calls, asked.seconds) == (GOAL_CALLS, 5.0):
            goals = [
                Goal("1,000 callers answered within 8 s", f"{last:.1f} s", last <= GOAL_S),
                Goal("in under 3 GiB", f"{gib} GiB", held < GOAL_BYTES if held else None),
            ]
    return Section(
        "parked",
        f"Parked flows: {asked.calls[0]:,} callers and more",
        f"Sync callers at once, each of a flow that sleeps {asked.seconds:g} s; not pinned. Memory is PSS of all "
        "processes while all sleep; it cannot be read by another user than root.",
        (["callers", "first answer s", "last answer s", "beyond the sleep, ms each", "PSS GiB"], lines),
        goals=goals,
        charts=[Chart("Last answer", "callers", "seconds", {"whd": last_s})],
        figures={"rows": rows},
    )
