"""What of a child is not written down: `***` stands for it in the record, the log and every answer. Pure.

The child runs with what is real, and the parent that waits for it reads what is real; neither outlives the process. So
an execution with masked inputs never runs again from its record.

Texts that a flow protects by name are masked wherever the child shows them: an honest flow logs its inputs by accident.
A child that means to tell them can (docs/security.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.execution import Execution
from ..rest import without_credentials
from ..wire.masking import MASK, MASKED_HEADERS, MaskedPart

NOT_KEPT = "interrupted; its protected inputs are not kept"

# Shorter texts are masked only where they are all of a text: they stand by chance in too many others. The names of
# members are whd's own as a rule ("args", "fields"), and only much longer texts are masked in them.
MIN_CHARS = 4
MIN_NAME_CHARS = 8
# Of one child; what is beyond is masked as a part, not wherever its texts stand.
MOST_VALUES = 100
MOST_VALUE_BYTES = 65_536

_MASK_JSON = json.dumps(MASK).encode("ascii")
# A text, with what makes it a member's name behind it, or a number.
_TOKENS = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?|-?[0-9][0-9.eE+-]*', re.DOTALL)
# Characters that JSON may write in more than one way.
_ESCAPES = re.compile(rb"\\[u/]")

_decoder = json.JSONDecoder()
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class Protection:
    """Of one child. `input_json`: its input as it runs with it. `outputs`: names of members of its output.

    `values`: texts that are masked wherever they stand. `output_json`: its output as it is, "" where the record has it.
    """

    input_json: bytes
    outputs: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    output_json: bytes | bytearray = b""

    def cover(self, execution: Execution, *, has_output: bool) -> None:
        """Masks what a flow has just written to the execution's record. `has_output`: its output too."""
        execution.message, execution.name = self.text(execution.message), self.text(execution.name)
        if has_output:
            real = execution.output_json
            written = self.output(real)
            self.output_json = b""
            if written != real:
                execution.output_json, self.output_json = written, real

    def text(self, text: str) -> str:
        """A message or name as it is written down."""
        return _masked_text(text, self.values) if self.values else text

    def json(self, text: bytes) -> bytes:
        """Lines of a log as they are written down."""
        return bytes(_masked_json(text, self.values)) if self.values else text

    def output(self, output_json: bytes | bytearray) -> bytes | bytearray:
        """The output as it is written down."""
        if self.outputs:
            try:
                output_json = _without_members(output_json, self.outputs)
            except (ValueError, IndexError, RecursionError):
                return _MASK_JSON  # not JSON as Python reads it: no member of it can be found
        return _masked_json(output_json, self.values) if self.values else output_json


def masked_input(input_json: bytes, parts: Iterable[MaskedPart]) -> bytes:
    """An input's JSON with `***` in the place of each part. `parts`: in order, none over another.

    Raises ValueError for parts that are no such. The result need not be JSON where they cut through it.
    """
    pieces: list[bytes] = []
    end = 0
    for start, size, _is_value in parts:
        if start < end or size < 1 or start + size > len(input_json):
            raise ValueError("a masked part is not within the input, behind the part before it")
        pieces += (input_json[end:start], _MASK_JSON)
        end = start + size
    pieces.append(input_json[end:])
    return b"".join(pieces)


def values_of(input_json: bytes, parts: Iterable[MaskedPart]) -> frozenset[str]:
    """The texts in those parts that a flow named. The input was checked, the parts were not."""
    found: set[str] = set()
    left = MOST_VALUE_BYTES
    for start, size, is_value in parts:
        left -= size
        if is_value and left >= 0:
            try:
                found.update(leaves(json.loads(input_json[start : start + size])))
            except (ValueError, RecursionError):
                continue  # a worker that lies protects nothing
    return spellings(sorted(found)[:MOST_VALUES])


def spellings(texts: Iterable[str]) -> frozenset[str]:
    """The texts, also as they stand in what honest flows make of their inputs: a dict's or an error's text, and JSON.

    There a key of several lines, or a password with a backslash or a quotation mark, is written with escapes.
    """
    return frozenset(
        spelling
        for text in texts
        for spelling in (text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    )


def leaves(value: Any) -> list[str]:
    """The texts and numbers in a JSON value, as texts."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [_encode(value)]
    return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]


def protected_task(
    inputs: Mapping[str, Any], names: Sequence[str], outputs: Iterable[str], url_texts: Iterable[str]
) -> tuple[dict[str, Any], Protection | None]:
    """A task's inputs as they are written down, and its protection, None for one that needs none.

    `url_texts`: what messages show of its URL, which is not as the flow wrote it.
    """
    masked = without_credentials(inputs)
    for name in names:
        if masked.get(name) is not None:
            masked[name] = MASK
    headers = masked.get("headers")
    if isinstance(headers, dict) and any(name.lower() in MASKED_HEADERS for name in headers):
        masked["headers"] = {
            name: value if value is None or name.lower() not in MASKED_HEADERS else MASK
            for name, value in headers.items()
        }
    values = leaves([inputs[name] for name in names if name in inputs])[:MOST_VALUES]
    if "url" in names:
        values += url_texts
    protection = Protection(b"", frozenset(outputs), spellings(values))
    is_needed = masked != inputs or protection.outputs
    return masked, protection if is_needed else None


# ---- masking ---------------------------------------------------------------------------------------------------------


def _masked_text(text: str, values: Iterable[str]) -> str:
    if text in values:
        return MASK
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= MIN_CHARS:
            text = text.replace(value, MASK)
    return text


def _masked_json(text: bytes | bytearray, values: frozenset[str]) -> bytes | bytearray:
    """JSON with each of the texts masked, in texts and as a number of its own."""
    if not _may_hold(text, values):
        return text

    anywhere, in_names, numbers = (
        frozenset(value for value in values if len(value) >= chars) for chars in (1, MIN_NAME_CHARS, MIN_CHARS)
    )

    def masked(match: re.Match[bytes]) -> bytes:
        token, inner, colon = match[0], match[1], match[2]
        if inner is None:
            return _MASK_JSON if token.decode("ascii") in numbers else token
        plain = json.loads(b'"%b"' % inner) if b"\\" in inner else inner.decode("utf-8", "replace")
        shown = _masked_text(plain, anywhere if colon is None else in_names)
        return token if shown == plain else json.dumps(shown).encode("ascii") + (colon or b"")

    return _TOKENS.sub(masked, text)


def _may_hold(text: bytes | bytearray, values: Iterable[str]) -> bool:
    """Whether it is worth a closer look: the texts in the two spellings that whd's own JSON has, or one of others."""
    if _ESCAPES.search(text):
        return True
    return any(_encode(value)[1:-1].encode("utf-8", "surrogatepass") in text for value in values)


def _without_members(output_json: bytes | bytearray, names: frozenset[str]) -> bytes | bytearray:
    """An output whose members of these names are masked. The other members stay as they are written."""
    text = output_json.decode("utf-8", "surrogatepass")
    position = _skipped(text, 0)
    if text[position : position + 1] != "{":
        return output_json
    pieces: list[str] = []
    done = 0
    position = _skipped(text, position + 1)
    while text[position] != "}":
        name, position = _decoder.raw_decode(text, position)
        start = _skipped(text, _skipped(text, position) + 1)
        _value, position = _decoder.raw_decode(text, start)
        if name in names:
            pieces += (text[done:start], f'"{MASK}"')
            done = position
        position = _skipped(text, position)
        if text[position] == ",":
            position = _skipped(text, position + 1)
    pieces.append(text[done:])
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _skipped(text: str, position: int) -> int:
    """Behind the white space at a position."""
    while text[position] in " \t\r\n":
        position += 1
    return position
