#!/usr/bin/env python3
"""Measures sync-wait: webhook calls whose caller waits for the flow's result; whd beside four floors in the same run.

For each round, all targets are started, verified (right answer, wrong key refused), measured in turn and ended:
  1. closed loop at each of --connections: the most that each can do;
  2. open loop over the most connections, at each of --rates, shares of what each target did there in 1. Latency
     counts from the time at which a request was due (no coordinated omission).
Rounds are interleaved; figures are medians over the rounds. Every answer is checked while it is measured. A run in
which anything went wrong is not reported: the exit status is 1, and standard error names what went wrong and where.

Targets:
  whd      this checkout, started with this Python: one client, one webhook with a key, one flow, all defaults
  raw      uvloop alone, fixed answer        h11     h11 alone, fixed answer
  worker   h11 + one warm worker             fork    h11 + fork per call          (bench/floors.py)

The report goes to standard output as Markdown, and to --json and --html. --pin makes the figures steadier: the server
with its children on the first CPU, the load on the last. TMPDIR says where whd keeps its store meanwhile. With
BENCH_LOCK=FILE, runs of several people on one machine take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import page, report, runs, schedule, targets
from bench.progress import Progress

TITLE = "Sync-wait: throughput and latency"
MAX_CELLS = 5_000
MAX_S = 24 * 3600.0

DEFAULTS = {"rounds": 3, "seconds": 4.0, "warm": 1.0, "connections": (1, 16, 64), "rates": (10, 30, 50, 70, 90)}
QUICK = {"rounds": 1, "seconds": 0.7, "warm": 0.2, "connections": (1, 16, 64), "rates": (30, 70, 90)}


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure and how. `rates` are shares of a target's maximum; `options` lines of whd.yaml."""

    targets: tuple[targets.Target, ...]
    rounds: int
    seconds: float
    warm_s: float
    connections: tuple[int, ...]
    rates: tuple[float, ...]
    arrivals: str
    seed: int
    pin: bool
    options: tuple[str, ...]

    @property
    def cells(self) -> int:
        """How many runs of the load generator there are."""
        return self.rounds * len(self.targets) * (len(self.connections) + len(self.rates))

    @property
    def estimate_s(self) -> float:
        """About how long it takes: each cell, and the start of each target, once per round and loop."""
        starts = self.rounds * len(self.targets) * (2 if self.rates else 1)
        return self.cells * (self.seconds + self.warm_s + 0.4) + starts * 0.5

    @property
    def cpus(self) -> tuple[int, int] | None:
        """The server's and the load's CPU, if they are pinned."""
        return runs.pinned_cpus() if self.pin else None


# The command line ------------------------------------------------------------------------------------------------


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(",") if part.strip())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="sync_wait.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(result, "whd, raw, h11, worker, fork")
    return result


def add_options(result: argparse.ArgumentParser, names: str) -> None:
    """What sync_wait.py and peers.py have in common; `names` are the targets."""
    add = result.add_argument
    add("--rounds", type=int, metavar="N", help="interleaved rounds (3)")
    add("--seconds", type=float, metavar="S", help="measured time of each run (4)")
    add("--warm", type=float, metavar="S", help="load before it, not measured (1)")
    add("--connections", type=runs.whole_numbers, metavar="N,N,…", help="keep-alive connections (1,16,64)")
    add("--rates", type=_numbers, metavar="P,P,…", help="percents of the maximum, or none: '' (10,30,50,70,90)")
    add("--arrivals", choices=schedule.ARRIVALS, default="poisson", help="how open-loop requests are spaced (poisson)")
    add("--seed", type=int, default=1, help="of the Poisson schedules; a round adds its number (1)")
    add("--only", default="", metavar="NAME,…", help=f"only these targets: {names}")
    add("--quick", action="store_true", help="a look in under a minute: one round, short runs; noisy figures")
    runs.add_shared(result)


def settings_of(
    options: argparse.Namespace,
    among: Sequence[targets.Target] = targets.TARGETS,
    quick: dict[str, Any] = QUICK,
) -> Settings:
    """The settings that the options ask for. Raises ValueError naming the option that cannot be."""
    base: dict[str, Any] = quick if options.quick else DEFAULTS

    def chosen(name: str) -> Any:
        given = getattr(options, name)
        return base[name] if given is None else given

    by_name = {target.name: target for target in among}
    names = [name.strip() for name in options.only.split(",") if name.strip()] or list(by_name)
    for name in names:
        if name not in by_name:
            raise ValueError(f"--only: {name!r} is none of {', '.join(by_name)}")
    settings = Settings(
        targets=tuple(target for target in among if target.name in names),
        rounds=chosen("rounds"),
        seconds=chosen("seconds"),
        warm_s=chosen("warm"),
        connections=tuple(sorted(set(chosen("connections")))),
        rates=tuple(sorted({percent / 100 for percent in chosen("rates")})),
        arrivals=options.arrivals,
        seed=options.seed,
        pin=options.pin,
        options=runs.option_lines(options.option),
    )
    if not 1 <= settings.rounds <= runs.MAX_ROUNDS:
        raise ValueError(f"--rounds: 1 to {runs.MAX_ROUNDS}")
    if settings.seconds < 0.2 or settings.warm_s < 0:
        raise ValueError("--seconds, --warm: at least 0.2 s measured, and not less than nothing to warm up")
    if not settings.connections or not 1 <= settings.connections[0] <= settings.connections[-1] <= 10_000:
        raise ValueError("--connections: numbers from 1 to 10000")
    if settings.rates and not 0 < settings.rates[0] <= settings.rates[-1] <= 5:
        raise ValueError("--rates: percents above 0, up to 500")
    if settings.cells > MAX_CELLS or settings.estimate_s > MAX_S:
        raise ValueError(f"{settings.cells} runs of about {settings.estimate_s / 3600:.1f} h: more than this measures")
    runs.check_pin(settings.pin)
    return settings


# Measuring -------------------------------------------------------------------------------------------------------


def load(
    server: targets.Running, settings: Settings, connections: int, rate: float | None, number: int
) -> dict[str, Any]:
    """One run against a started target. Raises runs.BenchError if there was any error in it."""
    plan = runs.Load(
        connections,
        settings.seconds,
        settings.warm_s,
        rate=rate,
        arrivals=settings.arrivals,
        seed=settings.seed + number,
        cpu=None if settings.cpus is None else settings.cpus[1],
    )
    return runs.load(server, plan)


# Called with the servers of each round once they all run.
Started = Callable[[list[targets.Running]], None]


def measure(settings: Settings, progress: Progress, started: Started | None = None) -> report.Results:
    """All rounds. Raises runs.BenchError or targets.TargetError at the first thing that goes wrong."""
    results: report.Results = {target.name: {"closed": {}, "open": {}} for target in settings.targets}
    most = settings.connections[-1]
    for number in range(settings.rounds):
        with _all_running(settings) as servers:
            if started is not None:
                started(servers)
            for connections in settings.connections:
                for server in servers:
                    progress.step(f"round {number + 1}: {server.target.name}, {connections} connections")
                    cell = load(server, settings, connections, None, number)
                    results[server.target.name]["closed"].setdefault(str(connections), []).append(cell)
    maxima = {name: report.maximum_per_s(loops["closed"]) for name, loops in results.items()}
    for number in range(settings.rounds if settings.rates else 0):
        with _all_running(settings) as servers:
            for share in settings.rates:
                for server in servers:
                    name = server.target.name
                    progress.step(f"round {number + 1}: {name} at {share:.0%} of {maxima[name]:,.0f}/s")
                    cell = load(server, settings, most, share * maxima[name], number)
                    results[name]["open"].setdefault(repr(share), []).append(cell)
    return results


@contextlib.contextmanager
def _all_running(settings: Settings) -> Iterator[list[targets.Running]]:
    cpus = None if settings.cpus is None else {settings.cpus[0]}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(targets.running(target, cpus, settings.options)) for target in settings.targets]


# The report ------------------------------------------------------------------------------------------------------


def about(settings: Settings, title: str = TITLE) -> dict[str, Any]:
    """What a report begins with."""
    cpus = settings.cpus
    return {
        **runs.about(title),
        "settings": {
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "warm_s": settings.warm_s,
            "connections": list(settings.connections),
            "rates": list(settings.rates),
            "arrivals": settings.arrivals,
            "seed": settings.seed,
            "pin": settings.pin,
            "server_cpu": cpus[0] if cpus else None,
            "load_cpu": cpus[1] if cpus else None,
            "options": ", ".join(settings.options),
        },
        "titles": {target.name: target.title for target in settings.targets},
    }


def measured(settings: Settings, started: Started | None = None) -> report.Results:
    """`measure` with a progress bar on a terminal."""
    progress = Progress(settings.cells, sys.stderr)
    print(f"{settings.cells} runs, about {settings.estimate_s / 60:.1f} minutes", file=sys.stderr)
    try:
        return measure(settings, progress, started)
    finally:
        progress.end()


def write(finished: dict[str, Any], reference: str, options: argparse.Namespace) -> None:
    """The report: on standard output, and where --json and --html say."""
    print(report.markdown(finished, reference))
    if options.json is not None:
        options.json.write_text(json.dumps(finished, indent=1) + "\n")
    if options.html is not None:
        options.html.write_text(page.page(finished, reference))


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        settings = settings_of(options, targets.TARGETS)
    except ValueError as error:
        command.error(str(error))

    def go() -> int:
        beginning = about(settings)
        results = measured(settings)
        floors = [target.name for target in settings.targets if target in targets.FLOORS]
        write(report.build(results, floors, beginning), targets.REFERENCE, options)
        return 0

    return runs.guarded("sync_wait.py", go)


if __name__ == "__main__":
    runs.run_command(main)
