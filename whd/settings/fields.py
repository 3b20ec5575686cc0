"""One field of a file at a time: the right value, or a fault that says what stands there and what should.

A field's reader gives the value or None; None always comes with a fault. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import Field
from typing import Any, Final

from ..model.snapshot import Fault
from ..wire.suggest import closest
from .document import BOOL, DATE, FLOAT, INT, KIND_WORDS, LIST, MAP, NULL, TEXT, Node

# Past these the kernel's and the loop's own integers end; nobody means such a value.
LARGEST_INT: Final = 2**53
LARGEST_FLOAT: Final = 1e9

_LIKE_A_FIELD = re.compile(r"[a-z]{1,16}(_[a-z]{1,16}){0,3}")
_EXPONENT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?[eE]\+?[0-9]{1,2}")


class FieldFaults:
    """Collects the faults of one file."""

    __slots__ = ("failed", "faults", "path")

    def __init__(self, path: str, faults: Iterable[Fault] = ()) -> None:
        self.path = path
        self.faults = list(faults)
        self.failed = bool(self.faults)

    def result(self) -> tuple[Fault, ...]:
        """All of them, in the file's order."""
        return tuple(sorted(self.faults, key=lambda fault: fault.line))

    def fault(self, line: int, field: str, what: str, expected: str = "", suggestion: str = "") -> None:
        """Adds what makes the file unusable."""
        self.failed = True
        self.faults.append(Fault(self.path, line, _printable(field), what, expected, suggestion))

    def warning(self, line: int, field: str, what: str, expected: str = "", suggestion: str = "") -> None:
        """Adds what is worth saying and breaks nothing."""
        self.faults.append(Fault(self.path, line, _printable(field), what, expected, suggestion, is_warning=True))


def _printable(field: str) -> str:
    # A file chooses some of the names itself.
    return field if field.isprintable() else ascii(field)[1:-1]


def shown(value: object) -> str:
    """A value as a fault shows it: one printable line, not too long. Never for a key."""
    return _shortened(ascii(value) if isinstance(value, str) else str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def known_fields(
    node: Node, known: Iterable[str], report: FieldFaults, *, within: str = "", secret: bool = False, expected: str = ""
) -> Mapping[str, tuple[int, Node]]:
    """The fields of a mapping that are known; each other one is a fault.

    `expected`: what a fault says instead of all known names. `secret`: a name is repeated only if it is much like a
    known one or written as fields are, in lower-case words: any other may be a key that slipped to the left.
    """
    names = frozenset(known)
    fields: dict[str, tuple[int, Node]] = node.items
    for name, (line, _) in fields.items():
        if name not in names:
            meant = closest(name, names)
            can_be_shown = name.isprintable() and (meant or not secret or _LIKE_A_FIELD.fullmatch(name) is not None)
            report.fault(
                line,
                f"{within}.{name[:60]}".strip(".") if can_be_shown else within,
                "unknown field",
                expected or f"one of {', '.join(sorted(names))}",
                meant,
            )
    return fields


def read_mapping(
    node: Node, line: int, field: str, report: FieldFaults, expected: str
) -> Mapping[str, tuple[int, Node]] | None:
    """A mapping's fields; nothing at all reads as a mapping without any."""
    if node.kind == NULL:
        return {}
    if node.kind != MAP:
        report.fault(line, field, f"is {KIND_WORDS[node.kind]}", expected)
        return None
    items: Mapping[str, tuple[int, Node]] = node.items
    return items


def read_text(node: Node, line: int, field: str, report: FieldFaults, *, secret: bool = False) -> str | None:
    """A text that is not empty. `secret`: nothing of the value is repeated."""
    if node.kind == TEXT and node.value:
        return str(node.value)
    if node.kind == TEXT or node.kind == NULL:
        report.fault(line, field, "is empty", "text")
    elif node.kind in (INT, FLOAT, BOOL, DATE):
        # YAML 1.1 reads 1234, yes, 1:30 and 2026-11-23 as anything but text.
        as_written = "" if secret else f": {_quoted(node.text)}"
        report.fault(line, field, f"is {KIND_WORDS[node.kind]}", f"text; quote it{as_written}")
    else:
        report.fault(line, field, f"is {KIND_WORDS[node.kind]}", "text")
    return None


def _quoted(text: str) -> str:
    return '"' + ascii(text)[1:-1][:57].replace('"', '\\"') + '"'


def read_texts(
    node: Node, line: int, field: str, report: FieldFaults, *, secret: bool = False, one_will_do: bool = False
) -> tuple[str, ...] | None:
    """A list of texts, none empty. `one_will_do`: a single text stands for a list of it."""
    if node.kind != LIST:
        if one_will_do:
            text = read_text(node, line, field, report, secret=secret)
            return None if text is None else (text,)
        example = f", as in [{shown(node.text)}]" if node.kind == TEXT and node.text and not secret else ""
        report.fault(line, field, f"is {KIND_WORDS[node.kind]}", f"a list{example}")
        return None
    texts = [read_text(item, item.line, field, report, secret=secret) for item in node.items]
    good = tuple(text for text in texts if text is not None)
    return good if len(good) == len(texts) else None


def read_bool(node: Node, line: int, field: str, report: FieldFaults) -> bool | None:
    """True or false, not a text or number that looks like it."""
    if node.kind == BOOL:
        return bool(node.value)
    hint = ", without quotes" if node.kind == TEXT and node.text.lower() in ("true", "false", "yes", "no") else ""
    report.fault(line, field, f"is {_described(node)}", f"true or false{hint}")
    return None


def read_choice(node: Node, line: int, field: str, report: FieldFaults, choices: tuple[str, ...]) -> str | None:
    """One of the texts in `choices`, in exactly that case."""
    # `off` and such are booleans to YAML 1.1; no choice is named like one.
    if node.kind == TEXT and node.value in choices:
        return str(node.value)
    report.fault(line, field, f"is {_described(node)}", " or ".join(choices), closest(node.text, choices))
    return None


def read_choices(
    node: Node, line: int, field: str, report: FieldFaults, choices: tuple[str, ...]
) -> tuple[str, ...] | None:
    """A list, which may be empty, of texts in `choices`; a fault for each other one, at its own line."""
    if read_texts(node, line, field, report) is None:
        return None
    names = [read_choice(item, item.line, field, report, choices) for item in node.items]
    good = tuple(name for name in names if name is not None)
    return good if len(good) == len(names) else None


def read_number(node: Node, line: int, field: str, report: FieldFaults, option: Field[Any]) -> float | None:
    """A number within the option's range; a whole one where the option is one. A bool is no number here."""
    whole = option.type == "int"
    if node.kind != INT and (whole or node.kind != FLOAT):
        word = "a whole number" if whole else "a number"
        report.fault(line, field, f"is {_described(node)}", word + _hint(node))
        return None
    minimum, largest = option.metadata["minimum"], LARGEST_INT if whole else LARGEST_FLOAT
    if not minimum <= node.value <= largest:
        bound = f"at least {_plain(minimum)}" if node.value < minimum else f"at most {_plain(largest)}"
        report.fault(line, field, f"is {shown(node.value)}", bound)
        return None
    return int(node.value) if whole else float(node.value)


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _hint(node: Node) -> str:
    if node.kind != TEXT:
        return ""
    if _EXPONENT.fullmatch(node.text) and float(node.text) <= LARGEST_INT:
        # YAML 1.1 takes 1e9 for a text; only 1.0e+9 is a number to it.
        return f" written out, as in {float(node.text):.16g}"
    return ", without quotes" if re.fullmatch(r"[0-9][0-9_]*(\.[0-9]+)?", node.text) else ""


def _described(node: Node) -> str:
    if node.kind in (LIST, MAP, NULL) or not node.text:
        return KIND_WORDS[node.kind]
    return f"the text {shown(node.text)}" if node.kind == TEXT else _shortened(node.text)
