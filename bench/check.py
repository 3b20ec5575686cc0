#!/usr/bin/env python3
"""A regression check: ratios of a short run of whd to the floor "h11 + one warm worker", beside the committed ones.

    make bench-check                  # compares with bench/baseline.json
    python bench/check.py --update    # measures, and writes what it found as the new baseline

Throughput at 1, 16 and 64 connections, p50 at 1, CPU per call at 64; each as whd's to the floor's in the same round.
Rounds are interleaved. A ratio has become worse if even its best round is worse than the baseline by more than the
tolerance. If only the median is, or the rounds lie too far apart, the machine was too noisy to tell: that is said, and
is no failure; CPU per call is disturbed least. Exit status: 0, 1 for a regression or a run with an error, 2 for usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import percentiles, report, runs, sheet, sync_wait, targets

TITLE = "whd against the committed ratios"
BASELINE = targets.ROOT / "bench" / "baseline.json"
TOLERANCE = 0.15
CONNECTIONS = (1, 16, 64)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of whd's over the floor's. `more_is_better`: which way is worse."""

    name: str
    connections: int
    figure: str
    more_is_better: bool


RATIOS = (
    *(Ratio(f"throughput, {count} conn", count, "answered_per_s", True) for count in CONNECTIONS),
    Ratio("p50, 1 conn", 1, "p50", False),
    Ratio("CPU per call, 64 conn", 64, "server_cpu_us", False),
)


def verdict(ratio: Ratio, rounds: Sequence[float], baseline: float, tolerance: float) -> str:
    """ok, better, worse, or too noisy to tell; see above. `rounds`: the ratio in each."""
    # As "how many times better than the baseline": below 1 - tolerance is worse, whichever way the figure goes.
    relative = sorted(value / baseline if ratio.more_is_better else baseline / value for value in rounds)
    low, high, middle = 1 - tolerance, 1 / (1 - tolerance), percentiles.median(relative) or 0.0
    if relative[-1] < low:
        return "worse"
    # The middle rounds: one far-off round of five says nothing.
    inner = relative[1:-1] if len(relative) > 3 else relative
    if middle < low or inner[-1] - inner[0] > tolerance * 2:
        return "too noisy to tell"
    return "better" if relative[0] > high else "ok"


def rounds_of(results: report.Results) -> dict[str, list[float]]:
    """Each ratio in each round. Raises runs.BenchError where one cannot be told."""
    found = {}
    for ratio in RATIOS:
        ours = results["whd"]["closed"][str(ratio.connections)]
        theirs = results[targets.REFERENCE]["closed"][str(ratio.connections)]
        values = [value for value in report.ratios(ours, theirs, ratio.figure) if value]
        if len(values) < len(ours):
            raise runs.BenchError(f"{ratio.name}: too few calls; longer --seconds would help")
        found[ratio.name] = values
    return found


def compare(found: dict[str, list[float]], baseline: dict[str, Any], tolerance: float) -> list[tuple[Ratio, str]]:
    """Each ratio and its verdict; "new" for one that the baseline does not have."""
    known = baseline.get("ratios", {})
    return [
        (each, verdict(each, found[each.name], known[each.name], tolerance) if each.name in known else "new")
        for each in RATIOS
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="check.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE", help="the committed ratios")
    result.add_argument("--update", action="store_true", help="write what was found as the baseline; compare nothing")
    result.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="T",
        help=f"how much worse is still the same ({TOLERANCE})",
    )
    result.add_argument("--quick", action="store_true", help="three rounds instead of five: half a minute")
    runs.add_common(result, rounds=5, seconds=1, warm=0.4)
    return result


def section_of(
    found: dict[str, list[float]], baseline: dict[str, Any], judged: list[tuple[Ratio, str]]
) -> sheet.Section:
    """The table."""
    lines = []
    for ratio, word in judged:
        rounds = found[ratio.name]
        before = baseline.get("ratios", {}).get(ratio.name)
        spread = report.percent(percentiles.spread(rounds))
        want = "more" if ratio.more_is_better else "less"
        lines.append([ratio.name, want, report.times(before), report.times(percentiles.median(rounds)), spread, word])
    head = ["whd : floor", "better is", "committed", "now", "rounds apart", "verdict"]
    reading = f"The baseline is of commit {baseline.get('commit') or '-'}, on {baseline.get('cpu') or '-'}."
    return sheet.Section("ratios", "Ratios", reading, (head, lines), figures={"rounds": found})


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        rounds = 3 if options.quick else 5
        common = runs.common_of(options, rounds=rounds, seconds=1.0, warm=0.4)
        if not 0 < options.tolerance < 1:
            raise ValueError("--tolerance: between 0 and 1")
        if not options.update and not options.baseline.exists():
            raise ValueError(f"--baseline: there is no {options.baseline}; --update makes it")
        baseline = {} if options.update else json.loads(options.baseline.read_text())
    except (ValueError, OSError) as error:
        command.error(str(error))

    def go() -> int:
        chosen = tuple(target for target in targets.TARGETS if target.name in ("whd", targets.REFERENCE))
        settings = sync_wait.Settings(
            chosen,
            common.rounds,
            common.seconds,
            common.warm_s,
            CONNECTIONS,
            (),
            "poisson",
            1,
            common.pin,
            common.options,
        )
        beginning = runs.about(TITLE)
        results = sync_wait.measured(settings)
        found = rounds_of(results)
        noise = sheet.Noise()
        for by_key in (loops["closed"] for loops in results.values()):
            for cells in by_key.values():
                noise.add_rounds([noise.add(cell)["answered_per_s"] for cell in cells])
        judged = compare(found, baseline, options.tolerance)
        text = f"{common.rounds} interleaved rounds of {common.seconds:g} s; tolerance {options.tolerance:.0%}"
        section = section_of(found, baseline, judged)
        sheet.write(sheet.build(beginning, [("settings", text)], [section], noise), options)
        if options.update:
            options.baseline.write_text(json.dumps(baseline_of(found, beginning), indent=1) + "\n")
            return 0
        return conclude(judged)

    return runs.guarded("check.py", go)


def baseline_of(found: dict[str, list[float]], about: dict[str, Any]) -> dict[str, Any]:
    """What is committed: the median of each ratio, where it comes from, and nothing else."""
    return {
        "commit": about["commit"]["commit"],
        "cpu": about["machine"]["cpu"],
        "python": about["machine"]["python"],
        "ratios": {name: round(percentiles.median(rounds) or 0.0, 3) for name, rounds in found.items()},
    }


def conclude(judged: list[tuple[Ratio, str]]) -> int:
    """Says what came of it; 1 for a regression."""
    worse = [ratio.name for ratio, word in judged if word == "worse"]
    noisy = [ratio.name for ratio, word in judged if word == "too noisy to tell"]
    if noisy:
        print(f"check.py: too noisy to tell: {'; '.join(noisy)}", file=sys.stderr)
    if worse:
        print(f"check.py: slower than the committed baseline: {'; '.join(worse)}", file=sys.stderr)
        return 1
    print("check.py: no regression seen", file=sys.stderr)
    return 0


if __name__ == "__main__":
    runs.run_command(main)
