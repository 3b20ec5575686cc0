"""A report of sections: each a table, charts and goals with a word on each; as Markdown, JSON and one HTML page.

sync_wait.py and peers.py have a report of their own (report.py, page.py): one matrix of targets
and loads; this one is for commands whose sections each measure something else.
"""

from __future__ import annotations

import argparse
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import page, percentiles, report


@dataclass(frozen=True, slots=True)
class Goal:
    """What was asked, what came of it, and whether that is enough; None: cannot be told."""

    text: str
    measured: str
    met: bool | None

    @property
    def word(self) -> str:
        """met, missed, or why neither."""
        return "cannot be told" if self.met is None else "met" if self.met else "missed"


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one horizontal axis. `series`: name to ascending points; above 0 where an axis is logarithmic."""

    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(slots=True)
class Section:
    """One thing that was measured. `figures`: everything behind the table, for JSON."""

    name: str
    heading: str
    reading: str
    table: report.Table
    goals: list[Goal] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def build(
    about: dict[str, Any], settings: Sequence[tuple[str, str]], sections: Sequence[Section], noise: Noise
) -> dict[str, Any]:
    """The report, ready for JSON. `settings`: pairs of name and text."""
    return {
        "schema": 1,
        **about,
        "settings": [list(pair) for pair in settings],
        "noise": noise.summary(),
        "sections": [{**asdict(section), "goals": [_goal(goal) for goal in section.goals]} for section in sections],
    }


def _goal(goal: Goal) -> dict[str, Any]:
    return {**asdict(goal), "word": goal.word}


class Noise:
    """What disturbed the runs: machine.between's figures of each, and how far apart rounds of the same lie."""

    def __init__(self) -> None:
        self._steal: list[float] = []
        self._others: list[float] = []
        self._spreads: list[float] = []

    def add(self, cell: dict[str, Any]) -> dict[str, Any]:
        """Takes note of a run; gives it back."""
        self._steal.append(cell["steal"])
        self._others.append(cell["others_cores"])
        return cell

    def add_rounds(self, values: Sequence[float]) -> None:
        """Takes note of the rounds of one figure."""
        spread = percentiles.spread(values)
        if spread is not None:
            self._spreads.append(spread)

    def summary(self) -> dict[str, Any]:
        """Figures and a word for them: quiet, fair, noisy, or unknown if nothing was run."""
        figures = {
            "steal": max(self._steal, default=None),
            "others_cores": percentiles.median(self._others),
            "spread": percentiles.median(self._spreads),
        }
        known = any(value is not None for value in figures.values())
        return {"word": report.noise_word(figures) if known else "unknown", **figures}


# Text --------------------------------------------------------------------------------------------------------------


def facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What stands above the sections, as pairs of name and text."""
    noise = document["noise"]
    others = "-" if noise["others_cores"] is None else f"{noise['others_cores']:.2f}"
    text = (
        f"{noise['word']}: steal at most {report.percent(noise['steal'])}, other processes {others} cores, "
        f"rounds {report.percent(noise['spread'])} apart"
    )
    return [*report.where(document), *((name, value) for name, value in document["settings"]), ("noise", text)]


def markdown(document: dict[str, Any]) -> str:
    """The report for a terminal or a README."""
    parts = [f"# {document['title']}", "\n".join(f"- {name}: {text}" for name, text in facts(document))]
    for section in document["sections"]:
        parts += [f"## {section['heading']}", section["reading"]]
        if section["table"][1]:
            parts.append(report.table_markdown(section["table"]))
        if section["goals"]:
            parts.append("\n".join(f"- goal: {_goal_text(goal)}" for goal in section["goals"]))
    parts.append("Every answer was checked; the runs had no errors.")
    return "\n\n".join(parts) + "\n"


def _goal_text(goal: dict[str, Any]) -> str:
    return f"{goal['text']}: {goal['measured']}: {goal['word']}"


def write(document: dict[str, Any], options: argparse.Namespace) -> None:
    """The report: on standard output, and where --json and --html say."""
    print(markdown(document))
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.html is not None:
        options.html.write_text(html_page(document))


# The page ----------------------------------------------------------------------------------------------------------


def html_page(document: dict[str, Any]) -> str:
    """The report as one page that needs nothing else."""
    listed = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(t)}</dd>" for n, t in facts(document))
    parts = [page.head(document["title"]), f"<h1>{html.escape(document['title'])}</h1><dl>{listed}</dl>"]
    for section in document["sections"]:
        parts.append(f"<h2>{html.escape(section['heading'])}</h2><p>{html.escape(section['reading'])}</p>")
        if section["table"][1]:
            parts.append(page.table(section["table"]))
        if section["goals"]:
            items = "".join(f"<li>goal: {html.escape(_goal_text(goal))}</li>" for goal in section["goals"])
            parts.append(f"<ul>{items}</ul>")
        drawn = "".join(
            f"<figure><figcaption>{html.escape(chart['title'])}</figcaption>{lines(chart)}</figure>"
            for chart in section["charts"]
        )
        if drawn:
            parts.append(f'<div class="charts">{drawn}</div>')
    embedded = json.dumps(document).replace("</", "<\\/")
    parts.append(f'<script type="application/json" id="report">{embedded}</script>')
    return "\n".join(parts) + "</body></html>\n"


def lines(chart: dict[str, Any]) -> str:
    """A chart as SVG."""
    points = [point for own in chart["series"].values() for point in own]
    if not points:
        return "<p>Nothing to draw.</p>"
    width, height, left, right, top, bottom = 460, 320, 64, 24, 12, 48
    xs = _ticks([x for x, _ in points], log=chart["log_x"])
    ys = _ticks([y for _, y in points], log=chart["log_y"])

    def at_x(value: float) -> float:
        return left + (width - left - right) * _share(value, xs, log=chart["log_x"])

    def at_y(value: float) -> float:
        return height - bottom - (height - top - bottom) * _share(value, ys, log=chart["log_y"])

    parts = [
        f'<line class="grid" x1="{at_x(x):.1f}" y1="{top}" x2="{at_x(x):.1f}" y2="{height - bottom}"/>'
        f'<text x="{at_x(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{page.number(x)}</text>'
        for x in xs
    ]
    parts += [
        f'<line class="grid" x1="{left}" y1="{at_y(y):.1f}" x2="{width - right}" y2="{at_y(y):.1f}"/>'
        f'<text x="{left - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{page.number(y)}</text>'
        for y in ys
    ]
    parts.append(
        f'<text x="{(left + width - right) / 2:.0f}" y="{height - 10}" text-anchor="middle">{html.escape(chart["x"])}'
        f'</text><text transform="translate(14 {(top + height - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(chart['y'])}</text>"
    )
    legend = []
    for number, (name, own) in enumerate(chart["series"].items()):
        colour = f"var(--c{number % page.COLOURS})"
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in own)
        parts.append(f'<polyline points="{path}" style="fill:none;stroke:{colour};stroke-width:2"/>')
        if len(own) <= 40:
            parts += [
                f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3.5" style="fill:{colour}">'
                f"<title>{html.escape(name)}: {page.number(x)}, {y:,.4g}</title></circle>"
                for x, y in own
            ]
        legend.append(f'<li><i style="background:{colour}"></i>{html.escape(name)}</li>')
    label = html.escape(chart["title"])
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return drawing + (f'<ul class="legend">{"".join(legend)}</ul>' if len(legend) > 1 else "")


def _ticks(values: Sequence[float], *, log: bool) -> list[float]:
    return page.log_ticks(min(values), max(values)) if log else page.linear_ticks(max(values))


def _share(value: float, ticks: Sequence[float], *, log: bool) -> float:
    if log:
        return math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
    return (value - ticks[0]) / (ticks[-1] - ticks[0])
