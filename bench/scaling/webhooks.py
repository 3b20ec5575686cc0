"""Webhooks: 1 … 10,000 in 100 clients: throughput, start-up, reload of one changed file, memory per webhook."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from bench import answers, report, runs, targets
from bench.scaling.context import Caller, Context, add_webhook, caller, folder, memory_mib, middle, ratio
from bench.sheet import Chart, Goal, Section
from bench.targets import ORDER_FLOW

CLIENTS = 100
CONNECTIONS = 16
RELOADS = 5
RELOAD_TIMEOUT_S = 10.0


def counts(context: Context) -> tuple[int, ...]:
    """How many webhooks."""
    return (1, 1_000) if context.common.quick else (1, 100, 1_000, 10_000)


def fill(place: Path, count: int) -> None:
    """Adds webhooks until there are `count`: acme's order is the first, the others are in CLIENTS clients."""
    per_client = -(-(count - 1) // CLIENTS)
    left = count - 1
    for number in range(CLIENTS):
        for webhook in range(min(per_client, left)):
            add_webhook(place, f"client{number}", f"order{webhook}", source=ORDER_FLOW if webhook == 0 else None)
        left -= min(per_client, left)


def reload_s(server: targets.Running, one: Caller, number: int) -> float:
    """From the change of one setting (another key beside the first) until a call with that key is answered."""
    setting = server.folder / "config" / "acme" / "settings" / "client.webhook.order.yaml"
    key = f"another-key-{number}"
    text = f"flow_name: order\nuser_name: kevin\nkey: [{answers.KEY}, {key}]\n"
    new = setting.with_suffix(".tmp")
    new.write_text(text)
    new.chmod(0o600)
    begun = time.perf_counter()
    os.replace(new, setting)
    while True:
        status, _, _ = one.ask(targets.PATH + "?async=0", b'{"name": "Ada", "items": []}', **{"X-Webhook-Key": key})
        now = time.perf_counter()
        if status == 200:
            return now - begun
        if status != 401 or now - begun > RELOAD_TIMEOUT_S:
            raise runs.BenchError(f"a changed key was not live after {now - begun:.1f} s; status {status}")


def measure(context: Context) -> Section:
    """The section."""
    sizes = counts(context)
    starts: dict[int, float] = {}
    memory: dict[int, float] = {}
    reloads: dict[int, list[float]] = {size: [] for size in sizes}
    throughput: dict[int, list[float]] = {size: [] for size in sizes}
    spread: list[float] = []
    with contextlib.ExitStack() as stack:
        servers: dict[int, targets.Running] = {}
        for size in sizes:
            context.progress.step(f"webhooks: starting with {size:,}")
            place = stack.enter_context(folder())
            context.write(place)
            fill(place, size)
            server = servers[size] = stack.enter_context(context.daemon(place))
            starts[size] = server.started_s
            with caller(server.port) as one:
                one.job(targets.PATH)
                memory[size] = memory_mib(server)
                for number in range(RELOADS):
                    reloads[size].append(reload_s(server, one, number))
        for server in servers.values():
            context.load(server, CONNECTIONS)  # not counted: until all that is learned and cached is there
        for number in range(context.common.rounds):
            for size in sizes:
                context.progress.step(f"webhooks: round {number + 1}, {size:,}")
                throughput[size].append(context.load(servers[size], CONNECTIONS)["answered_per_s"])
        many = servers[sizes[-1]]
        context.progress.step("webhooks: each connection its own client")
        if sizes[-1] > CONNECTIONS * 2:
            own = context.load(many, CONNECTIONS, path="/api/webhook/client{connection}/order0")
            spread.append(own["answered_per_s"])
    for values in throughput.values():
        context.noise.add_rounds(values)
    first, last = sizes[0], sizes[-1]
    per_webhook = (memory[last] - memory[first]) * 2**20 / (last - first)
    ratios = {size: ratio(throughput[size], throughput[first]) for size in sizes}
    lines = [
        [
            f"{size:,}",
            report.per_s(middle(throughput[size])),
            report.times(ratios[size]),
            report.ms(starts[size] * 1e3),
            report.ms(middle(reloads[size]) * 1e3),
            f"{memory[size]:.1f}",
        ]
        for size in sizes
    ]
    reload_ms = middle(reloads[last]) * 1e3
    return Section(
        "webhooks",
        f"Webhooks: {first:,} to {last:,} in {CLIENTS} clients",
        f"Calls of one webhook over {CONNECTIONS} connections while the others are there; start-up until /readyz says "
        f"ready; reload: from a changed setting until a call sees it, median of {RELOADS}; anonymous "
        f"memory of all processes (PSS). With {last:,}, "
        f"{CONNECTIONS} connections that call as many clients (a process each): "
        f"{report.per_s(spread[0] if spread else None)} calls/s.",
        (["webhooks", "calls/s", "x the first", "start-up ms", "reload ms", "MiB"], lines),
        goals=[
            Goal(f"{last:,} webhooks: throughput at least 0.9 x one's", f"{ratios[last]:.2f} x", ratios[last] >= 0.9),
            Goal("reload of one changed file under 100 ms", f"{reload_ms:.1f} ms", reload_ms < 100),
            Goal("start-up under 2 s", f"{starts[last]:.2f} s", starts[last] < 2),
            Goal("memory per webhook under 4 KiB", f"{per_webhook / 1024:.2f} KiB", per_webhook < 4096),
        ],
        charts=[
            Chart(
                "Throughput",
                "webhooks",
                "calls per second",
                {"whd": [(float(size), middle(throughput[size])) for size in sizes]},
                log_x=True,
            )
        ],
        figures={
            "throughput": throughput,
            "start_s": starts,
            "reload_s": reloads,
            "memory_mib": memory,
            "bytes_per_webhook": per_webhook,
            "own_clients_per_s": spread,
        },
    )
