"""Cold: the first call of a client that has no worker, a changed flow's first call, daemon start to first answer."""

from __future__ import annotations

import contextlib
import json
import os
import time

from bench import percentiles, report, runs, targets
from bench.scaling.context import Caller, Context, add_webhook, caller, folder, middle
from bench.sheet import Goal, Section
from bench.targets import ORDER_FLOW

# Between two first calls, so that each finds the daemon as a caller would: at rest, with its spare workers there.
REST_S = 0.25
CHANGE_TIMEOUT_S = 10.0
# A flow whose answer says which version of it ran.
VERSION_FLOW = """\
def handler(system, this):
    return this.webhook_json_response({'version': %d})
"""
PATH = "/api/webhook/acme/version"


def count(context: Context) -> int:
    """How many first calls of each kind."""
    return 20 if context.common.quick else 100


def first_calls(server: targets.Running, number: int, rest_s: float, prefix: str) -> list[float]:
    """The first call of each of `number` clients, one after the other; in seconds."""
    with caller(server.port) as one:
        took = []
        for client in range(number):
            time.sleep(rest_s)
            took.append(one.job(f"/api/webhook/{prefix}{client}/order"))
        return took


def changed_call(server: targets.Running, one: Caller, version: int) -> float:
    """Changes the flow and calls until the new version answers: how long that first call of it took, in seconds."""
    flow = server.folder / "flows" / "acme" / "version.py"
    new = flow.with_suffix(".tmp")
    new.write_text(VERSION_FLOW % version)
    os.replace(new, flow)
    until = time.monotonic() + CHANGE_TIMEOUT_S
    while time.monotonic() < until:
        status, body, took_s = one.ask(PATH, b"{}")
        if status != 200:
            raise runs.BenchError(f"a changed flow: {status} {body[:200]!r}")
        if json.loads(body)["version"] == version:
            return took_s
        time.sleep(0.002)
    raise runs.BenchError(f"a changed flow was not live after {CHANGE_TIMEOUT_S:.0f} s")


def measure(context: Context) -> Section:
    """The section."""
    number = count(context)
    to_first: list[float] = []
    with folder() as place:
        context.write(place)
        for client in range(number):
            for prefix in ("rested", "burst"):
                add_webhook(place, f"{prefix}{client}", "order", source=ORDER_FLOW)
        add_webhook(place, "acme", "version", "version", source=VERSION_FLOW % 0)
        (place / "config" / "acme" / "users.yaml").write_text("kevin:\n  flows: [order, version]\n")
        with context.daemon(place) as server, caller(server.port) as one:
            one.job(targets.PATH)
            context.progress.step(f"cold: {number} clients' first calls")
            rested = first_calls(server, number, REST_S, "rested")
            context.progress.step(f"cold: {number} more at once")
            burst = first_calls(server, number, 0.0, "burst")
            context.progress.step("cold: changed flows")
            changed = [changed_call(server, one, version) for version in range(1, number // 2 + 1)]
            warm = [one.job(targets.PATH) for _ in range(number)]
    for start in range(3 if context.common.quick else 7):
        context.progress.step(f"cold: start {start + 1}")
        with folder() as place, contextlib.ExitStack() as stack:
            context.write(place)
            begun = time.perf_counter()
            server = stack.enter_context(context.daemon(place))
            with caller(server.port) as one:
                one.job(targets.PATH)
            to_first.append(time.perf_counter() - begun)
    kinds = {
        "a warm call, to compare": warm,
        "first call of a client without a worker": rested,
        "the same, one right after the other": burst,
        "a changed flow's first call": changed,
        "daemon start to first answer": to_first,
    }
    lines = []
    for name, took in kinds.items():
        figures = percentiles.summary_ms(took)
        p50, p90, worst = (report.ms(figures[each]) for each in ("p50", "p90", "max"))
        lines.append([name, str(len(took)), report.ms(middle(took) * 1e3) if p50 == "-" else p50, p90, worst])
    first, change, start_ms = (middle(kind) * 1e3 for kind in (rested, changed, to_first))
    return Section(
        "cold",
        "Cold starts",
        f"One call at a time, each {REST_S:g} s after the last, of clients that were never called; then of others "
        "without a pause. A flow's file is replaced, and called until its new version answers: that call's time. "
        "A daemon's start, its trial of the sandbox included, until the first job is answered.",
        (["", "calls", "p50 ms", "p90 ms", "max ms"], lines),
        goals=[
            Goal("first call of a client without a worker under 15 ms p50", f"{first:.1f} ms", first < 15),
            Goal("a changed flow's first call under 10 ms", f"{change:.1f} ms", change < 10),
            Goal("daemon start to first answer under 700 ms", f"{start_ms:.0f} ms", start_ms < 700),
        ],
        figures=dict(kinds),
    )
