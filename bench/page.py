"""The report as one HTML page that needs nothing else: tables, bars of throughput, curves of latency, drawn as SVG.

Nothing here does I/O. Colours are CSS variables, so that light and dark need only one drawing.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from typing import Any

from bench import report as reports

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6570; --line: #d9dee3; --panel: #f6f8fa;
  --c0: #1f5fd6; --c1: #7a828c; --c2: #c2620c; --c3: #0f8a66; --c4: #a13aa0; --c5: #b3261e; --c6: #0e7c9b;
  --c7: #7a6a00; --c8: #5b4bd0; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e7eaee; --soft: #9aa4af; --line: #333a42;
  --panel: #1c2126; --c0: #74a7ff; --c1: #a9b1bb; --c2: #f0a35a; --c3: #4fd1a5; --c4: #dc8edb;
  --c5: #ff8a80; --c6: #6fd0e8; --c7: #d8c35a; --c8: #a99bff; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } p { color: var(--soft); max-width: 60rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); } td.text, th.text { text-align: left; }
tr.whd td { font-weight: 600; background: var(--panel); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--panel); border-radius: 8px; padding: .8rem; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg text.value { fill: var(--ink); } svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0; padding: 0; list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem; }
"""

COLOURS = 9


def page(report: dict[str, Any], reference: str) -> str:
    """The whole page."""
    # The first colour is whd's own, also where it is not among the targets.
    names = ["whd", *(target for target in report["titles"] if target != "whd")]
    colour = {target: f"var(--c{number % COLOURS})" for number, target in enumerate(names)}
    parts = [
        head(report["title"]),
        f"<h1>{html.escape(report['title'])}</h1>",
        "<dl>"
        + "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(t)}</dd>" for n, t in reports.facts(report))
        + "</dl>",
        _legend(report, colour),
        f"<h2>Throughput</h2><figure>{bars(report, colour, reference)}</figure>",
    ]
    if report["open"]:
        parts.append("<h2>Latency over offered rate</h2><p>Both axes are logarithmic. A hollow mark: saturated.</p>")
        charts = "".join(
            f"<figure><figcaption>{name}</figcaption>{curves(report, colour, name)}</figure>"
            for name in ("p50", "p99", "p99.9")
        )
        parts.append(f'<div class="charts">{charts}</div>')
    own = report["titles"].get("whd")
    for heading, reading, rows in reports.tables(report, reference):
        parts.append(f"<h2>{html.escape(heading)}</h2><p>{html.escape(reading)}</p>{table(rows, own)}")
    if report.get("goals"):
        items = "".join(f"<li>{html.escape(goal)}</li>" for goal in report["goals"])
        parts.append(f"<h2>Goals</h2><ul>{items}</ul>")
    parts.append(f"<p>{html.escape(reports.FOOTNOTE)}</p>")
    # The numbers behind the page, for programs. "</" would end the script element.
    embedded = json.dumps(report).replace("</", "<\\/")
    parts.append(f'<script type="application/json" id="report">{embedded}</script>')
    return "\n".join(parts) + "</body></html>\n"


def _legend(report: dict[str, Any], colour: dict[str, str]) -> str:
    items = "".join(
        f'<li><i style="background:{colour[target]}"></i>{html.escape(title)}</li>'
        for target, title in report["titles"].items()
    )
    return f'<ul class="legend">{items}</ul>'


def head(title: str) -> str:
    """A page's beginning, up to its first heading."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
    )


def table(rows: reports.Table, own: str | None = None) -> str:
    """A table; the line whose first cell is `own` stands out."""
    names, lines = rows

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="text">{html.escape(text)}</{tag}>' if number == 0 else f"<{tag}>{html.escape(text)}</{tag}>"
            for number, text in enumerate(texts)
        )

    body = "".join(f"<tr{' class=whd' if line[0] == own else ''}>{cells('td', line)}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{cells("th", names)}</tr></thead><tbody>{body}</tbody></table></div>'


# Axes ------------------------------------------------------------------------------------------------------------


def linear_ticks(largest: float, about: int = 6) -> list[float]:
    """Round numbers from 0 up to the first that is no less than `largest`."""
    if largest <= 0:
        return [0.0, 1.0]
    step = _round_up(largest / about)
    return [step * number for number in range(math.ceil(largest / step - 1e-9) + 1)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def log_ticks(smallest: float, largest: float) -> list[float]:
    """Powers of ten around positive values; with 2 and 5 between them where the range is short."""
    low, high = math.floor(math.log10(smallest)), math.ceil(math.log10(largest))
    high = max(high, low + 1)
    if high - low > 2:
        return [10.0**power for power in range(low, high + 1)]
    ticks = [factor * 10.0**power for power in range(low, high) for factor in (1, 2, 5)] + [10.0**high]
    first = max((number for number, tick in enumerate(ticks) if tick <= smallest), default=0)
    last = next((number for number, tick in enumerate(ticks) if tick >= largest), len(ticks) - 1)
    return ticks[first : max(last, first + 1) + 1]


def number(value: float) -> str:
    """A tick's text."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


# Charts ----------------------------------------------------------------------------------------------------------


def bars(report: dict[str, Any], colour: dict[str, str], reference: str) -> str:
    """Throughput per target, grouped by connections; each bar with its value and its ratio to `reference`."""
    counts = sorted({row["connections"] for row in report["closed"]})
    left, right, top, bar, gap = 120, 170, 10, 18, 16
    width = 900
    ticks = linear_ticks(max(row["answered_per_s"] for row in report["closed"]))
    scale = (width - left - right) / ticks[-1]
    parts: list[str] = []
    y = top
    for count in counts:
        rows = [row for row in report["closed"] if row["connections"] == count]
        middle = y + len(rows) * bar / 2 + 4
        parts.append(f'<text x="{left - 10}" y="{middle:.1f}" text-anchor="end">{_connections(count)}</text>')
        for row in rows:
            length = max(1.5, row["answered_per_s"] * scale)
            ratio = row["ratio"].get(reference, {}).get("answered_per_s")
            label = reports.per_s(row["answered_per_s"]) + (f" · {reports.times(ratio)} x" if ratio else "")
            title = f"{report['titles'][row['target']]}, {_connections(count)}: {label}"
            parts.append(
                f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{bar - 4}" rx="2" '
                f'style="fill:{colour[row["target"]]}"><title>{html.escape(title)}</title></rect>'
                f'<text class="value" x="{left + length + 6:.1f}" y="{y + bar - 5}">'
                f"{html.escape(row['target'])} {label}</text>"
            )
            y += bar
        y += gap
    bottom = y - gap + 4
    grid = "".join(
        f'<line class="grid" x1="{left + tick * scale:.1f}" y1="{top}" x2="{left + tick * scale:.1f}" y2="{bottom}"/>'
        f'<text x="{left + tick * scale:.1f}" y="{bottom + 16}" text-anchor="middle">{number(tick)}</text>'
        for tick in ticks
    )
    axis = (
        f'<text x="{(left + width - right) / 2:.0f}" y="{bottom + 36}" text-anchor="middle">requests per second</text>'
    )
    height = bottom + 44
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Throughput">{grid}{"".join(parts)}{axis}</svg>'


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def curves(report: dict[str, Any], colour: dict[str, str], name: str) -> str:
    """One percentile of latency over the offered rate, a curve per target."""
    points = [(row, row["offered_per_s"], row["latency_ms"][name]) for row in report["open"] if row["latency_ms"][name]]
    if not points:
        return "<p>Too few requests for this percentile.</p>"
    width, height, left, right, top, bottom = 460, 340, 58, 62, 12, 48
    xs = log_ticks(min(x for _, x, _ in points), max(x for _, x, _ in points))
    ys = log_ticks(min(y for _, _, y in points), max(y for _, _, y in points))

    def at_x(value: float) -> float:
        return left + (width - left - right) * math.log(value / xs[0]) / math.log(xs[-1] / xs[0])

    def at_y(value: float) -> float:
        return height - bottom - (height - top - bottom) * math.log(value / ys[0]) / math.log(ys[-1] / ys[0])

    parts = [
        f'<line class="grid" x1="{at_x(x):.1f}" y1="{top}" x2="{at_x(x):.1f}" y2="{height - bottom}"/>'
        f'<text x="{at_x(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{number(x)}</text>'
        for x in xs
    ] + [
        f'<line class="grid" x1="{left}" y1="{at_y(y):.1f}" x2="{width - right}" y2="{at_y(y):.1f}"/>'
        f'<text x="{left - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{number(y)}</text>'
        for y in ys
    ]
    parts.append(
        f'<text x="{(left + width - right) / 2:.0f}" y="{height - 10}" text-anchor="middle">'
        "offered requests per second</text>"
        f'<text transform="translate(14 {(top + height - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{name}, milliseconds</text>"
    )
    ends: list[tuple[float, float, str]] = []
    for target in report["titles"]:
        own = [(row, at_x(x), at_y(y)) for row, x, y in points if row["target"] == target]
        if not own:
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in own)
        thick = 2.5 if target == "whd" else 1.6
        parts.append(f'<polyline points="{line}" style="fill:none;stroke:{colour[target]};stroke-width:{thick}"/>')
        for row, x, y in own:
            fill = "var(--panel)" if row["saturated_rounds"] else colour[target]
            title = (
                f"{report['titles'][target]}: {reports.per_s(row['offered_per_s'])}/s offered, "
                f"{name} {reports.ms(row['latency_ms'][name])} ms"
            )
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" stroke-width="1.5" '
                f'style="fill:{fill};stroke:{colour[target]}">'
                f"<title>{html.escape(title)}</title></circle>"
            )
        ends.append((own[-1][1], own[-1][2], target))
    parts += [
        f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" style="fill:{colour[target]}">{html.escape(target)}</text>'
        for x, y, target in _apart(ends)
    ]
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _apart(
    ends: list[tuple[float, float, str]], line: float = 13.0, near: float = 60.0
) -> list[tuple[float, float, str]]:
    """Labels at the curves' ends, moved down where one would lie on another."""
    placed: list[tuple[float, float, str]] = []
    for x, y, text in sorted(ends, key=lambda end: end[1]):
        for other_x, other_y, _ in placed:
            if abs(x - other_x) < near and y - other_y < line:
                y = other_y + line
        placed.append((x, y, text))
    return placed
