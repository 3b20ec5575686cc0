#!/usr/bin/env python3
"""Compares this checkout with another commit of it: is it as fast? Once for heads that come again, once for new ones.

    make bench-compare                       # with 9bb7d26, pinned: about four minutes
    python bench/compare.py --base HEAD~1    # with the commit before

The base's whd/ is written to a temporary folder and runs with this Python and its packages; a daemon that runs another
whd/ than its own is an error. In each pair both daemons are started, with the same files, and measured in turn by this
checkout's load generator: closed loop at each of --connections, with the same head in each request (repeated) and with
another one in each (new, as real senders do; see load.py). Only one daemon is under load at a time; which comes first
changes from pair to pair (A B, B A, A B). Ratios are this checkout's figure over the base's in the same pair. Printed
are medians over the pairs, and how far the pairs lie apart.

Each kind of head has its verdict, on the median over the connections of those medians. Throughput below --at-least
times the base's is "missed" if CPU time per call agrees, which is to have grown beyond 1 / --at-least. If it has not,
something else than the code kept the calls waiting, and it "cannot be told". Where the base's own figures vary by more
than 10 % (coefficient of variation over the pairs), the machine was too noisy to tell, and the report says so.

Exit status: 0, 1 if missed or for a run with an error, 2 for usage.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import percentiles, report, runs, sheet, targets
from bench.progress import Progress
from bench.scaling.context import Context

TITLE = "This checkout against another commit"
CONNECTIONS = (1, 16, 64)
HEADS = ("repeated", "new")
AT_LEAST = 0.98
# A base whose own figures vary by more than this says little about another one.
NOISY_VARIATION = 0.10

DEFAULTS: dict[str, Any] = {"rounds": 5, "seconds": 2.0, "warm": 0.5}
QUICK: dict[str, Any] = {"rounds": 2, "seconds": 0.5, "warm": 0.2}

# By heads, connections and side ("base", "this"): a cell for each pair.
Cells = dict[str, dict[int, dict[str, list[report.Cell]]]]


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared: `target` names it, `checkout` is the folder whose whd/ runs."""

    target: targets.Target
    checkout: Path


@dataclass(frozen=True, slots=True)
class Figure:
    """What is measured of both. `more_is_better`: which way is worse."""

    name: str
    key: str
    more_is_better: bool
    text: Callable[[float | None], str]


THROUGHPUT = Figure("answered/s", "answered_per_s", True, report.per_s)
CPU = Figure("CPU µs/call", "server_cpu_us", False, report.per_s)
FIGURES = (THROUGHPUT, CPU, Figure("p50 ms", "p50", False, report.ms))


# The base ----------------------------------------------------------------------------------------------------------


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(targets.ROOT), *arguments], capture_output=True, check=False)


def commit_of(name: str) -> str:
    """The full name of a commit. Raises ValueError if this is no repository or has no such commit."""
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise ValueError(f"--base: no commit {name!r} here" + (f": {reason}" if reason else ""))
    return done.stdout.decode("ascii").strip()


@contextlib.contextmanager
def exported(commit: str) -> Iterator[Path]:
    """The whd/ of a commit in a temporary folder; gives that folder. Raises runs.BenchError.

    An archive, not a work tree of git's: a run that is killed leaves nothing in the repository.
    """
    done = _git("archive", "--format=zip", commit, "whd")
    if done.returncode != 0:
        raise runs.BenchError(f"the whd/ of {commit}: {done.stderr.decode('utf-8', 'replace').strip()}")
    with tempfile.TemporaryDirectory(prefix="whd-base-") as name:
        # Resolved: the daemon will see its working directory so, and is asked where it comes from.
        folder = Path(name).resolve()
        zipfile.ZipFile(io.BytesIO(done.stdout)).extractall(folder)
        yield folder


# The daemons -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(side: Side, common: runs.Common) -> Iterator[targets.Running]:
    """A side's daemon, verified: that it does the job, and that it runs its own whd/. Raises targets.TargetError."""
    with tempfile.TemporaryDirectory(prefix="whd-compare-") as name:
        folder = Path(name)
        targets.write_config(folder, common.options)
        compiled = folder / "compiled"
        environment = {
            # Before an installed whd, which is likely to be this checkout's, editable.
            "PYTHONPATH": str(side.checkout),
            "PYTHONPYCACHEPREFIX": str(compiled),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        daemon = targets.daemon(
            folder, common.server_cpus, target=side.target, checkout=side.checkout, environment=environment
        )
        with daemon as server:
            if (found := origins(compiled)) != [side.checkout / "whd"]:
                where = ", ".join(map(str, found)) or "nobody knows which whd/"
                raise targets.TargetError(f"{side.target.title} runs {where}, not {side.checkout / 'whd'}")
            targets.verify(server)
            yield server


def origins(compiled: Path) -> list[Path]:
    """Each whd/ that a daemon imported, by what it compiled: `compiled` was its PYTHONPYCACHEPREFIX.

    Its fronts are seen so too. The zygote ignores the environment; it takes whd/ from where the daemon's own lies.
    """
    return sorted(Path("/") / file.parent.relative_to(compiled) for file in compiled.rglob("whd/__init__.*.pyc"))


def measure(sides: Sequence[Side], connections: Sequence[int], context: Context) -> Cells:
    """All pairs. Raises runs.BenchError or targets.TargetError at the first thing that goes wrong."""
    cells: Cells = {
        heads: {count: {side.target.name: [] for side in sides} for count in connections} for heads in HEADS
    }
    for number in range(context.common.rounds):
        # Started anew for each pair: where a process's memory lies makes some percent, for as long as it lives.
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(started(side, context.common)) for side in sides]
            if number % 2:
                servers.reverse()
            for count in connections:
                for heads in HEADS:
                    for server in servers:
                        name = server.target.name
                        context.progress.step(f"pair {number + 1}: {name}, {count} connections, heads {heads}")
                        cells[heads][count][name].append(context.load(server, count, heads=heads))
    return cells


# The verdict -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A figure at a number of connections: medians of both sides, each pair's ratio, how far the base's own vary."""

    connections: int
    figure: Figure
    base: float | None
    this: float | None
    ratios: list[float]
    variation: float | None

    @property
    def ratio(self) -> float:
        """The median over the pairs."""
        return percentiles.median(self.ratios) or 0.0


def rows_of(by_count: dict[int, dict[str, list[report.Cell]]]) -> list[Row]:
    """The rows of one kind of head. Raises runs.BenchError where a ratio cannot be told."""
    rows = []
    for count, cells in by_count.items():
        for figure in FIGURES:
            ratios = [ratio for ratio in report.ratios(cells["this"], cells["base"], figure.key) if ratio]
            if len(ratios) < len(cells["base"]):
                raise runs.BenchError(f"{figure.name}, {count} connections: too few calls; longer --seconds would help")
            base, this = ([report.value(cell, figure.key) for cell in cells[side]] for side in ("base", "this"))
            variation = percentiles.variation([value for value in base if value is not None])
            rows.append(Row(count, figure, percentiles.median(base), percentiles.median(this), ratios, variation))
    return rows


def over_connections(rows: Sequence[Row], figure: Figure) -> float:
    """The median over the connections of a figure's ratios."""
    return percentiles.median([row.ratio for row in rows if row.figure is figure]) or 0.0


def verdict(throughput: float, cpu: float, at_least: float) -> bool | None:
    """Whether ratios of throughput and of CPU per call are good enough; None: they do not agree that it is slower."""
    if throughput >= at_least:
        return True
    return False if cpu > 1 / at_least else None


def noisy(rows: Sequence[Row]) -> list[Row]:
    """The rows in which the base's own figures vary too much to say anything about another one."""
    return [row for row in rows if row.variation is not None and row.variation > NOISY_VARIATION]


# The report --------------------------------------------------------------------------------------------------------


def section_of(heads: str, cells: dict[int, dict[str, list[report.Cell]]], at_least: float) -> sheet.Section:
    """One kind of head: its table, and whether it is good enough."""
    rows = rows_of(cells)
    throughput, cpu = (over_connections(rows, figure) for figure in (THROUGHPUT, CPU))
    goal = sheet.Goal(
        f"heads {heads}: at least {at_least:g} x the base's throughput",
        f"{throughput:.3f} x, CPU per call {cpu:.3f} x",
        verdict(throughput, cpu, at_least),
    )
    lines = [
        [
            str(row.connections),
            row.figure.name,
            "more" if row.figure.more_is_better else "less",
            row.figure.text(row.base),
            row.figure.text(row.this),
            f"{row.ratio:.3f}",
            f"{min(row.ratios):.3f} to {max(row.ratios):.3f}",
            report.percent(row.variation),
        ]
        for row in rows
    ]
    head = ["connections", "figure", "better is", "base", "this", "this : base", "pairs from", "base varies by"]
    return sheet.Section(
        heads,
        {"repeated": "The same head in each request", "new": "A new head in each request"}[heads],
        f"Medians over the pairs. {noise_text(rows)}{bound_text(cells)}",
        (head, lines),
        goals=[goal],
        figures={"cells": cells},
    )


def noise_text(rows: Sequence[Row]) -> str:
    """What the base's own figures say of the machine."""
    variations = [row.variation for row in rows if row.variation is not None]
    if not variations:
        return "One pair says nothing of the machine's noise."
    text = f"The base's own figures vary by at most {max(variations):.1%} (coefficient of variation over the pairs)"
    named = "; ".join(f"{row.figure.name} at {row.connections}" for row in noisy(rows))
    return text + (f". The machine was too noisy to tell: {named}." if named else ".")


def bound_text(cells: dict[int, dict[str, list[report.Cell]]]) -> str:
    """Where the load generator was the limit, and not the server."""
    counts = [
        str(count)
        for count, sides in cells.items()
        if any(cell["generator_cpu"] > report.GENERATOR_BOUND for side in sides.values() for cell in side)
    ]
    return f" Generator-bound at {', '.join(counts)} connections." if counts else ""


def conclude(base: str, sections: Sequence[sheet.Section]) -> int:
    """Says what came of it; 1 if it is slower."""
    goals = [(section.name, goal) for section in sections for goal in section.goals]
    for name, goal in goals:
        if goal.met is None:
            why = "fewer answers per second, yet no more CPU per call"
            print(f"compare.py: heads {name}: cannot be told: {why} ({goal.measured})", file=sys.stderr)
    missed = [f"heads {name}: {goal.measured}" for name, goal in goals if goal.met is False]
    if missed:
        print(f"compare.py: slower than {base}: {'; '.join(missed)}", file=sys.stderr)
        return 1
    print(f"compare.py: not seen to be slower than {base}", file=sys.stderr)
    return 0


# The command -------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="compare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("--base", required=True, metavar="COMMIT", help="what to compare with: a commit, tag or branch")
    add("--at-least", type=float, default=AT_LEAST, metavar="X", help=f"times the base's throughput ({AT_LEAST})")
    add("--connections", type=runs.whole_numbers, default=CONNECTIONS, metavar="N,N,…", help="keep-alive (1,16,64)")
    add("--quick", action="store_true", help="two pairs of short runs: half a minute; noisy figures")
    runs.add_common(result, **DEFAULTS, rounds_name="pairs")
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    connections = tuple(sorted(set(options.connections)))
    try:
        common = runs.common_of(options, **(QUICK if options.quick else DEFAULTS))
        if not connections or not 1 <= connections[0] <= connections[-1] <= 10_000:
            raise ValueError("--connections: numbers from 1 to 10000")
        if not 0 < options.at_least <= 10:
            raise ValueError("--at-least: above 0, up to 10")
        commit = commit_of(options.base)
    except (ValueError, OSError) as error:
        command.error(str(error))

    def go() -> int:
        steps = common.rounds * len(connections) * len(HEADS) * 2
        minutes = (steps * (common.seconds + common.warm_s + 0.5) + common.rounds * 3) / 60
        print(f"{steps} runs, about {minutes:.1f} minutes", file=sys.stderr)
        noise, progress = sheet.Noise(), Progress(steps, sys.stderr)
        beginning = runs.about(TITLE)
        try:
            with exported(commit) as folder:
                sides = (
                    Side(targets.Target("base", f"base {commit[:12]}", "execution"), folder),
                    Side(targets.Target("this", "this checkout", "execution"), targets.ROOT),
                )
                cells = measure(sides, connections, Context(common, noise, progress))
        finally:
            progress.end()
        for by_side in (by_side for by_count in cells.values() for by_side in by_count.values()):
            for side in by_side.values():
                noise.add_rounds([cell["answered_per_s"] for cell in side])
        sections = [section_of(heads, cells[heads], options.at_least) for heads in HEADS]
        pinned = "servers on one CPU, load on another" if common.pin else "servers and load share all CPUs"
        text = f"{common.rounds} pairs, in turn; runs of {common.seconds:g} s after {common.warm_s:g} s; {pinned}"
        settings = [
            ("base", f"{commit} ({options.base})"),
            ("settings", f"{text}; whd's options: {', '.join(common.options) or 'defaults'}"),
        ]
        sheet.write(sheet.build(beginning, settings, sections, noise), options)
        return conclude(options.base, sections)

    return runs.guarded("compare.py", go)


if __name__ == "__main__":
    runs.run_command(main)
