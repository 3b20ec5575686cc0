"""`only` of a webhook's setting: which deliveries run its flow (SENDERS 4). Nothing here does I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..auth.permissions import matches
from ..model.call_rules import CallFilter
from ..model.caller_check import Headers
from ..senders.locators import Locator, NotALocator, parse_locator
from ..senders.values import pointers_of, text_at
from ..wire.pointer import Picked
from .document import BOOL, FLOAT, INT, LIST, MAP, Node
from .fields import FieldFaults, read_mapping, read_text, shown

KINDS: Final = ("header", "json", "query")
_EXPECTED: Final = 'a mapping of places to globs, as in {"json:/ref": ["refs/heads/main"]}'


@dataclass(frozen=True, slots=True)
class Only(CallFilter):
    """Each locator must find one of its globs' texts. One without a single value matches nothing, not even `*`."""

    conditions: tuple[tuple[Locator, tuple[str, ...]], ...]

    @property
    def pointers(self) -> tuple[str, ...]:
        return pointers_of(locator for locator, _globs in self.conditions)

    def mismatch(self, headers: Headers, query: Mapping[str, Any], picked: Picked | None) -> str:
        for locator, globs in self.conditions:
            text = text_at(locator, headers, query, picked)
            if text is None or not any(matches(glob, text) for glob in globs):
                return str(locator)
        return ""


def read_only(node: Node, line: int, field: str, report: FieldFaults) -> Only | None:
    """Reads the field; None with a fault."""
    items = read_mapping(node, line, field, report, _EXPECTED)
    if items is None:
        return None
    if not items:
        # It must not become a webhook that runs nothing, or everything, by a list that was commented out.
        report.fault(line, field, "is empty", f"{_EXPECTED}, or no such field for a webhook that runs every delivery")
        return None
    conditions = [
        _read_condition(name, globs_line, globs, field, report) for name, (globs_line, globs) in items.items()
    ]
    good = tuple(condition for condition in conditions if condition is not None)
    return Only(good) if len(good) == len(conditions) else None


def _read_condition(
    name: str, line: int, node: Node, field: str, report: FieldFaults
) -> tuple[Locator, tuple[str, ...]] | None:
    try:
        locator = parse_locator(name, KINDS)
    except NotALocator as error:
        expected = str(error).removeprefix("expected ")
        report.fault(line, field, f"{shown(name)} names nothing of a request", expected)
        return None
    within = f"{field}.{name}"
    items = node.items if node.kind == LIST else [node]
    if not items:
        report.fault(line, within, "is an empty list", "at least one glob")
        return None
    globs = [_read_glob(item, item.line or line, within, report) for item in items]
    good = tuple(glob for glob in globs if glob is not None)
    return (locator, good) if len(good) == len(globs) else None


def _read_glob(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    # Payloads hold numbers and booleans too; they are compared as JSON writes them.
    if node.kind in (INT, FLOAT, BOOL):
        return json.dumps(node.value)
    if node.kind in (LIST, MAP):
        report.fault(line, field, "is no glob", 'text, as in "refs/tags/*"')
        return None
    return read_text(node, line, field, report)
