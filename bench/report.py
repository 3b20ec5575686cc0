"""From the rounds' results to one report: medians, ratios, noise; and the report as Markdown.

Every figure of a report is the median over the rounds. Every ratio is the median of the rounds' own ratios: rounds are
interleaved (A B C, A B C), so what disturbed a round disturbed both sides. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench import percentiles

Cell = dict[str, Any]
# results[target][loop][key] is a list with a cell per round; key is the connections, or the share of the maximum.
Results = dict[str, dict[str, dict[str, list[Cell]]]]

PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")

# A generator this busy is what was measured, not the server.
GENERATOR_BOUND = 0.9

# Steal, cores kept busy by others and spread between rounds: below the first, quiet; above the second, noisy.
_QUIET = {"steal": 0.005, "others_cores": 0.05, "spread": 0.05}
_NOISY = {"steal": 0.03, "others_cores": 0.25, "spread": 0.15}


def maximum_per_s(closed: dict[str, list[Cell]]) -> float:
    """A target's maximum: the median of its closed loop over the most connections, which the open loop uses too."""
    most = max(closed, key=int)
    return percentiles.median([cell["answered_per_s"] for cell in closed[most]]) or 0.0


def value(cell: Cell, figure: str) -> float | None:
    """A figure of one run: one of its own, a percentile, or server_cpu_us per answered request."""
    if figure == "server_cpu_us":
        return float(cell["server_cpu_s"]) / cell["checked"] * 1e6 if cell["checked"] else None
    found = cell["latency_ms"][figure] if figure in cell["latency_ms"] else cell[figure]
    return None if found is None else float(found)


def ratios(ours: Sequence[Cell], theirs: Sequence[Cell], figure: str) -> list[float | None]:
    """A figure of ours over theirs in each round; None where either had too few calls for it."""
    pairs = zip((value(cell, figure) for cell in ours), (value(cell, figure) for cell in theirs), strict=True)
    return [one / other if one is not None and other else None for one, other in pairs]


def _row(target: str, key: str, loop: str, results: Results, floors: Iterable[str]) -> dict[str, Any]:
    cells = results[target][loop][key]

    def middle(figure: str) -> float | None:
        return percentiles.median([value(cell, figure) for cell in cells])

    row: dict[str, Any] = {
        "target": target,
        "connections": cells[0]["connections"],
        "offered_per_s": cells[0]["offered_per_s"],
        "answered_per_s": middle("answered_per_s"),
        "latency_ms": {name: middle(name) for name in PERCENTILES},
        "errors": sum(sum(cell["errors"].values()) for cell in cells),
        "measured": sum(cell["measured"] for cell in cells),
        "server_cpu_us": middle("server_cpu_us"),
        "saturated_rounds": sum(bool(cell["saturated"]) for cell in cells),
        "generator_cpu": middle("generator_cpu"),
        "spread": percentiles.spread([cell["answered_per_s"] for cell in cells]),
        "ratio": {
            floor: {
                figure: percentiles.median(ratios(cells, results[floor][loop][key], figure))
                for figure in ("answered_per_s", *PERCENTILES, "server_cpu_us")
            }
            for floor in floors
            if floor != target and key in results.get(floor, {}).get(loop, {})
        },
        "rounds": cells,
    }
    if loop == "open":
        row["share_of_maximum"] = float(key)
    return row


def build(results: Results, floors: Sequence[str], about: dict[str, Any]) -> dict[str, Any]:
    """The report, ready for JSON. `about` is what it begins with: commit, machine, settings, titles of the targets."""
    rows: dict[str, list[dict[str, Any]]] = {
        loop: [_row(target, key, loop, results, floors) for target in results for key in results[target].get(loop, {})]
        for loop in ("closed", "open")
    }
    cells = [
        cell for loops in results.values() for by_key in loops.values() for many in by_key.values() for cell in many
    ]
    return {
        "schema": 1,
        **about,
        "maximum_per_s": {target: maximum_per_s(results[target]["closed"]) for target in results},
        "closed": rows["closed"],
        "open": rows["open"],
        "noise": noise(cells, rows["closed"]),
    }


def noise_word(figures: dict[str, float | None]) -> str:
    """quiet, fair or noisy. `figures`: steal, others_cores, spread, as far as they are known."""
    known = {name: value for name, value in figures.items() if value is not None}
    if any(value > _NOISY[name] for name, value in known.items()):
        return "noisy"
    return "quiet" if all(value <= _QUIET[name] for name, value in known.items()) else "fair"


def noise(cells: Sequence[Cell], closed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How disturbed the runs were, with a word for it: quiet, fair or noisy."""
    spreads = [row["spread"] for row in closed if row["spread"] is not None]
    figures = {
        "steal": max(cell["steal"] for cell in cells),
        "others_cores": percentiles.median([cell["others_cores"] for cell in cells]) or 0.0,
        "spread": percentiles.median(spreads),
    }
    lags = [cell["send_lag_ms"]["p99"] for cell in cells if cell["send_lag_ms"]["p99"] is not None]
    return {
        "word": noise_word(figures),
        "steal_max": figures["steal"],
        "steal_median": percentiles.median([cell["steal"] for cell in cells]),
        "others_cores_median": figures["others_cores"],
        "others_cores_max": max(cell["others_cores"] for cell in cells),
        "spread_median": figures["spread"],
        "spread_max": max(spreads, default=None),
        "send_lag_p99_ms_median": percentiles.median(lags),
    }


# Numbers as text -------------------------------------------------------------------------------------------------


def per_s(value: float | None) -> str:
    """Requests per second."""
    return "-" if value is None else f"{value:,.0f}"


def ms(value: float | None) -> str:
    """Milliseconds, three digits that mean something."""
    if value is None:
        return "-"
    return (
        f"{value:.3f}"
        if value < 1
        else f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:,.0f}"
    )


def times(value: float | None) -> str:
    """A ratio."""
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{value:.1%}"


def note(row: dict[str, Any], rounds: int) -> str:
    """What must be known to read a row."""
    notes = []
    if row["saturated_rounds"]:
        notes.append("saturated" if rounds == 1 else f"saturated in {row['saturated_rounds']} of {rounds}")
    if row["generator_cpu"] is not None and row["generator_cpu"] > GENERATOR_BOUND:
        notes.append("generator-bound")
    return ", ".join(notes)


# Tables ----------------------------------------------------------------------------------------------------------


Table = tuple[list[str], list[list[str]]]


def tables(report: dict[str, Any], reference: str) -> list[tuple[str, str, Table]]:
    """The report's tables: heading, how to read it, and the table. Ratios are to `reference` where one is named."""
    titles: dict[str, str] = report["titles"]
    result = [
        (
            "Throughput, closed loop",
            "Requests per second at 1 to n connections; x is the ratio to "
            f"{titles.get(reference, reference)}, measured in the same run. CPU: of the server, all its processes.",
            _throughput(report, reference),
        ),
        (
            "Latency, closed loop",
            "Milliseconds from sending to the whole answer, each connection sending again at once.",
            _latency(report, report["closed"], reference, lambda row: str(row["connections"]), "connections"),
        ),
    ]
    if report["open"]:
        connections = report["open"][0]["connections"]
        result.append(
            (
                f"Latency, open loop over {connections} connections",
                f"Milliseconds from the time at which a request was due; {report['settings']['arrivals']} arrivals, "
                "offered at a share of each target's own maximum.",
                _latency(
                    report, report["open"], reference, lambda row: f"{row['share_of_maximum']:.0%}", "of its maximum"
                ),
            )
        )
    ratios = _against_floors(report)
    if ratios[1]:
        result.append(
            (
                f"whd as a ratio to each {report.get('others', 'floor')}",
                "Throughput: more is better, 1 is the floor's. p50, p99 and CPU per call: less is better.",
                ratios,
            )
        )
    result += [(heading, reading, table) for heading, reading, table in report.get("more_tables", ())]
    return result


def _throughput(report: dict[str, Any], reference: str) -> Table:
    connections = sorted({row["connections"] for row in report["closed"]})
    by = {(row["target"], row["connections"]): row for row in report["closed"]}
    head = ["", *(f"req/s, {count} conn" for count in connections), *(f"x, {count}" for count in connections)]
    head += [f"CPU µs/call, {connections[-1]}", "spread"]
    lines = []
    for target in report["titles"]:
        rows = [by[target, count] for count in connections if (target, count) in by]
        if not rows:
            continue
        marks = ["*" if note(row, report["settings"]["rounds"]) else "" for row in rows]
        line = [report["titles"][target]]
        line += [per_s(row["answered_per_s"]) + mark for row, mark in zip(rows, marks, strict=True)]
        line += [_times_of(row, reference, "answered_per_s") for row in rows]
        line += [
            per_s(rows[-1]["server_cpu_us"]),
            percent(max((row["spread"] for row in rows if row["spread"] is not None), default=None)),
        ]
        lines.append(line)
    return head, lines


def _times_of(row: dict[str, Any], floor: str, figure: str) -> str:
    if row["target"] == floor:
        return "1"
    return times(row["ratio"].get(floor, {}).get(figure))


def _latency(
    report: dict[str, Any],
    rows: list[dict[str, Any]],
    reference: str,
    key: Callable[[dict[str, Any]], str],
    key_name: str,
) -> Table:
    rounds = report["settings"]["rounds"]
    offered = any(row["offered_per_s"] for row in rows)
    head = ["", key_name, *(["offered/s"] if offered else []), "answered/s", *PERCENTILES, "p50 x", "p99 x", "errors"]
    head.append("")
    lines = []
    for row in rows:
        line = [report["titles"][row["target"]], key(row), *([per_s(row["offered_per_s"])] if offered else [])]
        line += [per_s(row["answered_per_s"]), *(ms(row["latency_ms"][name]) for name in PERCENTILES)]
        line += [_times_of(row, reference, "p50"), _times_of(row, reference, "p99")]
        line += [str(row["errors"]), note(row, rounds)]
        lines.append(line)
    return head, lines


def _against_floors(report: dict[str, Any]) -> Table:
    closed = [row for row in report["closed"] if row["target"] == "whd"]
    opened = [row for row in report["open"] if row["target"] == "whd"]
    if not closed:
        return [], []
    floors = list(closed[0]["ratio"])
    few, many = closed[0], closed[-1]
    head = ["", *(f"req/s, {row['connections']} conn" for row in closed)]
    head += [f"p50, {few['connections']} conn", f"p99, {many['connections']} conn", "CPU per call"]
    head += [f"p99 at {row['share_of_maximum']:.0%}" for row in opened]
    lines = []
    for floor in floors:
        line = [report["titles"][floor], *(times(row["ratio"][floor]["answered_per_s"]) for row in closed)]
        line += [times(few["ratio"][floor]["p50"]), times(many["ratio"][floor]["p99"])]
        line += [times(many["ratio"][floor]["server_cpu_us"])]
        line += [times(row["ratio"].get(floor, {}).get("p99")) for row in opened]
        lines.append(line)
    return head, lines


def where(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Commit, time, machine and Python as pairs of name and text."""
    machine, commit = report["machine"], report["commit"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items() if version)
    text_of_commit = commit["commit"] or "not a git checkout"
    if commit["dirty"]:
        text_of_commit += " with uncommitted changes"
    return [
        ("commit", text_of_commit),
        ("when", report["at"]),
        (
            "machine",
            f"{machine['cpu']}, {len(machine['cores_allowed'])} of {machine['cores']} cores"
            f"{', virtual' if machine['virtual'] else ''}, {machine['kernel']}",
        ),
        ("Python", f"{machine['python']}; {libraries}"),
    ]


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Commit, machine, settings and noise as pairs of name and text."""
    settings, quiet = report["settings"], report["noise"]
    pinned = (
        f"server and its children on CPU {settings['server_cpu']}, load on CPU {settings['load_cpu']}, which it polls"
        if settings["pin"]
        else "server and load share all CPUs"
    )
    rounds = settings["rounds"]
    return [
        *where(report),
        *(("skipped", text) for text in report.get("skipped", ())),
        (
            "settings",
            f"{rounds} interleaved round{'s' if rounds > 1 else ''}, {settings['seconds']:g} s each after "
            f"{settings['warm_s']:g} s of warming up; {pinned}; whd's options: {settings['options'] or 'defaults'}",
        ),
        (
            "noise",
            f"{quiet['word']}: steal at most {percent(quiet['steal_max'])}, other processes "
            f"{quiet['others_cores_median']:.2f} cores (at most {quiet['others_cores_max']:.2f}), throughput between "
            f"rounds {percent(quiet['spread_median'])} apart (at most {percent(quiet['spread_max'])}), requests sent "
            f"late by {ms(quiet['send_lag_p99_ms_median'])} ms (p99)",
        ),
    ]


FOOTNOTE = (
    "Figures are medians over the rounds, ratios medians of the rounds' ratios, percentiles nearest-rank over all "
    "latencies of a round (- where there are too few). Every answer was checked; the run had no errors. "
    "generator-bound (*): the load generator was the limit, the server can do more. saturated: more was offered than "
    "the server could answer."
)


def markdown(report: dict[str, Any], reference: str) -> str:
    """The report for a terminal or a README."""
    parts = [f"# {report['title']}", "\n".join(f"- {name}: {text}" for name, text in facts(report))]
    for heading, reading, table in tables(report, reference):
        parts += [f"## {heading}", reading, table_markdown(table)]
    if report.get("goals"):
        parts += ["## Goals", "\n".join(f"- {goal}" for goal in report["goals"])]
    parts.append(FOOTNOTE)
    return "\n\n".join(parts) + "\n"


def table_markdown(table: Table) -> str:
    """A table; what holds numbers is aligned to the right."""
    head, lines = table
    rule = "|" + "|".join("--:" if number else "---" for number in _numeric(head, lines)) + "|"
    return "\n".join([_line(head), rule, *(_line(line) for line in lines)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _numeric(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold numbers: the ones that a table aligns to the right."""
    return [
        bool(lines) and all(line[column][:1].isdigit() or line[column] == "-" for line in lines)
        for column in range(len(head))
    ]
