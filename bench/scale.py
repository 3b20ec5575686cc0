#!/usr/bin/env python3
"""Measures how whd behaves as something grows. Each section says which goal it is held to, and whether it was met.

  webhooks     1 … 10,000 in 100 clients: throughput, start-up, reload of one changed file, memory per webhook
  history      0 … 1,000,000 executions in the store: throughput, `whd executions list`, status by id
  payloads     1 KiB … 10 MiB, beside an h11 floor that reads the same payload; calls beside a 10 MiB one
  connections  1 … 1,024, beside the floor "h11 + one warm worker"
  cold         first call of a client without a worker, a changed flow's first call, daemon start to first answer
  accepts      async calls: 202s per second, each synced to disk before
  parked       1,000 and 2,000 sync callers at once whose flows sleep: the last answer, memory (parked.py has more)
  soak         an open loop at 70 % of the maximum for a minute: tails, errors, growth of memory

Where a ratio is claimed, what is compared runs in turn in each round, and the figure is the median of the rounds' own
ratios. Every answer is checked while it is measured; a run with an error is not reported (exit status 1). TMPDIR says
where the store lies meanwhile: history's million executions take about 0.5 GB. With BENCH_LOCK=FILE, runs of several
people on one machine take turns.
"""

from __future__ import annotations

import argparse
import os
import sys
from types import ModuleType
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import runs, sheet
from bench.progress import Progress
from bench.scaling import accepts, cold, connections, history, parked, payloads, soak, webhooks
from bench.scaling.context import Context

TITLE = "whd as things grow"
SECTIONS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (webhooks, history, payloads, connections, cold, accepts, parked, soak)
}
# The sections' steps differ; the bar's end is an estimate of this many.
_STEPS = {
    "webhooks": 26,
    "history": 24,
    "payloads": 55,
    "connections": 60,
    "cold": 10,
    "accepts": 5,
    "parked": 8,
    "soak": 3,
}
_QUICK_STEPS = {
    "webhooks": 5,
    "history": 4,
    "payloads": 7,
    "connections": 6,
    "cold": 6,
    "accepts": 1,
    "parked": 2,
    "soak": 3,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="scale.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("sections", nargs="*", metavar="SECTION", help="which to measure (all)")
    result.add_argument("--quick", action="store_true", help="each smaller, one short round: about a minute for all")
    runs.add_common(result, rounds=5, seconds=2, warm=0.5)
    return result


def measure(names: list[str], common: runs.Common) -> dict[str, object]:
    """The report. Raises runs.BenchError or targets.TargetError at the first thing that goes wrong."""
    noise = sheet.Noise()
    per_section = _QUICK_STEPS if common.quick else _STEPS
    progress = Progress(sum(per_section[name] for name in names), sys.stderr)
    context = Context(common, noise, progress)
    beginning = runs.about(TITLE)
    try:
        sections = [SECTIONS[name].measure(context) for name in names]
    finally:
        progress.end()
    pinned = "server on one CPU, load on another" if common.pin else "server and load share all CPUs"
    text = f"{common.rounds} interleaved rounds of {common.seconds:g} s after {common.warm_s:g} s; {pinned}"
    settings = [("settings", f"{text}; whd's options: {', '.join(common.options) or 'defaults'}")]
    return sheet.build(beginning, settings, sections, noise)


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    names = options.sections or list(SECTIONS)
    try:
        for name in names:
            if name not in SECTIONS:
                raise ValueError(f"there is no section {name!r}; there are: {', '.join(SECTIONS)}")
        quick: dict[str, Any] = {"rounds": 1, "seconds": 0.5, "warm": 0.2}
        common = runs.common_of(options, **(quick if options.quick else {"rounds": 5, "seconds": 2.0, "warm": 0.5}))
    except ValueError as error:
        command.error(str(error))

    def go() -> int:
        document = measure(names, common)
        sheet.write(document, options)
        return 0

    return runs.guarded("scale.py", go)


if __name__ == "__main__":
    runs.run_command(main)
