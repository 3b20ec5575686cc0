"""Payloads: 1 KiB … 10 MiB to a flow that answers with the length, and calls beside a 10 MiB one."""

from __future__ import annotations

import subprocess
from typing import Any

from bench import report, runs, targets
from bench.scaling.context import LENGTH_FLOW, Context, add_webhook, folder, middle, ratio
from bench.sheet import Chart, Goal, Section

CONNECTIONS = 4
BESIDE_CONNECTIONS = 8
BESIDE_SHARE = 0.3
PATH = "/api/webhook/acme/length"
LARGE = 10 * 2**20
# A step up in size may not make a MiB cost more than this: "no quadratic step".
MOST_STEP = 2.0


def sizes(context: Context) -> tuple[int, ...]:
    """Bytes of a body."""
    return (2**10, 100 * 2**10, 2**20) if context.common.quick else (2**10, 10 * 2**10, 100 * 2**10, 2**20, LARGE)


def text_of(size: int) -> str:
    """A size with its unit."""
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"


def beside(context: Context, server: targets.Running, plan: runs.Load, large: int) -> dict[str, Any]:
    """A run of small calls while one connection sends large ones all the time; both are checked."""
    seconds = plan.warm_s + plan.seconds
    other = runs.Load(1, seconds, 0.0, cpu=plan.cpu, poll=False, path=PATH, check="length", size=large)
    with subprocess.Popen(
        other.command(server), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            cell = context.noise.add(runs.load(server, plan))
            out, error = process.communicate(timeout=seconds + 60)
        except subprocess.TimeoutExpired:
            raise runs.BenchError("large payloads: the load generator did not end") from None
        finally:
            if process.poll() is None:
                process.kill()
    cell["large_per_s"] = runs.read_result(out, error, process.returncode, "large payloads")["answered_per_s"]
    return cell


def measure(context: Context) -> Section:
    """The section."""
    rates: dict[str, list[float]] = {}
    alone: list[dict[str, Any]] = []
    with_large: list[dict[str, Any]] = []
    common = context.common
    large = max(sizes(context))
    with folder() as place:
        context.write(place)
        add_webhook(place, "acme", "length", "length", source=LENGTH_FLOW)
        (place / "config" / "acme" / "users.yaml").write_text("kevin:\n  flows: [order, length]\n")
        with context.daemon(place) as server, context.floor("length") as floor:
            for number in range(common.rounds):
                for size in sizes(context):
                    for kind in ("json", "text"):
                        context.progress.step(f"payloads: round {number + 1}, {text_of(size)} of {kind}")
                        for one, path in ((server, PATH), (floor, "/")):
                            cell = context.load(one, CONNECTIONS, path=path, check="length", size=size, kind=kind)
                            mib_s = cell["answered_per_s"] * size / 2**20
                            rates.setdefault(f"{one.target.name} {kind} {size}", []).append(mib_s)
            rate = BESIDE_SHARE * context.load(server, BESIDE_CONNECTIONS)["answered_per_s"]
            for number in range(common.rounds):
                context.progress.step(f"payloads: round {number + 1}, calls beside {text_of(large)}")
                plan = runs.Load(
                    BESIDE_CONNECTIONS, common.seconds, common.warm_s, rate=rate, cpu=common.load_cpu, poll=False
                )
                alone.append(context.noise.add(runs.load(server, plan)))
                with_large.append(beside(context, server, plan, large))
    for values in rates.values():
        context.noise.add_rounds(values)
    lines = []
    goals = []
    for kind in ("json", "text"):
        before = 0.0
        for size in sizes(context):
            ours, theirs = rates[f"whd {kind} {size}"], rates[f"length {kind} {size}"]
            share, mib_s = ratio(ours, theirs), middle(ours)
            lines.append([f"{text_of(size)}, {kind}", f"{mib_s:,.1f}", f"{middle(theirs):,.1f}", report.times(share)])
            goals.append(Goal(f"{text_of(size)}, {kind}: at least 0.5 x the floor", f"{share:.2f} x", share >= 0.5))
            if before / max(mib_s, 1e-9) > MOST_STEP:
                text = f"{kind}: no step up in size may cost more than {MOST_STEP:g} x per MiB"
                goals.append(Goal(text, f"{before / mib_s:.1f} x at {text_of(size)}", False))
            before = mib_s
    p99 = [[cell["latency_ms"]["p99"] for cell in cells] for cells in (alone, with_large)]
    times = ratio(p99[1], p99[0]) if None not in p99[0] + p99[1] else None
    measured = "too few calls to tell" if times is None else f"{times:.2f} x ({middle(p99[0]):.2f} ms alone)"
    met = None if times is None else times <= 2
    goals.append(Goal(f"p99 of calls beside a {text_of(large)} one at most 2 x", measured, met))
    return Section(
        "payloads",
        f"Payloads: {text_of(sizes(context)[0])} to {text_of(large)}",
        f"MiB/s of bodies over {CONNECTIONS} connections, as JSON (an object with one text) and as plain text, to a "
        "flow that answers with their length; the floor reads the same bytes with h11 and answers with their length. "
        f"Beside: an open loop of {rate:,.0f} small calls/s, with and without one connection that sends "
        f"{text_of(large)} bodies all the time.",
        (["payload", "whd MiB/s", "floor MiB/s", "x"], lines),
        goals=goals,
        charts=[
            Chart(
                "MiB/s",
                "bytes of a body",
                "MiB per second",
                {
                    f"{name}, {kind}": [
                        (float(size), middle(rates[f"{target} {kind} {size}"])) for size in sizes(context)
                    ]
                    for kind in ("json", "text")
                    for target, name in (("whd", "whd"), ("length", "floor"))
                },
                log_x=True,
                log_y=True,
            )
        ],
        figures={"mib_per_s": rates, "alone": alone, "beside": with_large},
    )
