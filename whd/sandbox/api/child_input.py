"""A child's input on its way to the daemon: JSON, the kinds of dict in it, and the parts that are not written down.

A protected part travels to the child as it is; record, log and answers have `***` for it. The daemon learns where in
the JSON text such parts stand, so it needs to read the text no further than it does anyhow.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from ...wire.masking import MASKED_HEADERS, MaskedPart
from ..inputs import HEADERS, Kinds, kinds_of
from ..run import Run


class ChildInput(NamedTuple):
    """`text`: the input as JSON. `masked`: the protected parts, in order. `kinds`: see inputs.py."""

    text: bytes
    masked: list[MaskedPart]
    kinds: Kinds


def child_input(run: Run, where: str, inputs: Any, protected: list[str]) -> ChildInput:
    """What child.start sends of an input. Raises InvalidInputError for what has no JSON form."""
    kinds = kinds_of(inputs)
    shadow = _Shadow(inputs)
    if isinstance(inputs, dict):
        for name in protected:
            shadow.hide([name], is_value=True)
        if isinstance(inputs.get("headers"), dict) and "headers" not in protected:
            shadow.hide_headers(["headers"])
        for letter, *path in kinds:
            if letter == HEADERS and path != ["headers"] and path[:1] not in [[name] for name in protected]:
                shadow.hide_headers(path)
    text = run.json_text(where, shadow.value, "inputs")
    return ChildInput(*_filled(run, where, text, shadow), kinds)


class _Shadow:
    """A copy of an input, as deep as is needed, with a mark in the place of each part that is protected.

    `hidden`: by their marks, the parts and how errors name them.
    """

    def __init__(self, inputs: Any) -> None:
        self.value = inputs
        self.hidden: dict[str, tuple[Any, str, bool]] = {}
        self._copied: set[int] = set()
        self._mark = ""

    def hide_headers(self, path: list[str]) -> None:
        """Hides those headers of the dict at a path that prove who sends them."""
        headers = self._holder(path, copies=False)
        for name in list(dict.keys(headers)):
            if isinstance(name, str) and str.lower(name) in MASKED_HEADERS:
                self.hide([*path, name], is_value=False)

    def hide(self, path: list[str], *, is_value: bool) -> None:
        """Hides what stands at a path; nothing is hidden where nothing stands."""
        *holders, name = path
        if dict.get(self._holder(holders, copies=False), name) is None:
            return
        holder = self._holder(holders, copies=True)
        self._mark = self._mark or secrets.token_hex(16)
        mark = f"{self._mark}.{len(self.hidden)}"
        spoken = "inputs" + "".join(f"[{part!r}]" for part in path)
        self.hidden[mark] = dict.__getitem__(holder, name), spoken, is_value
        dict.__setitem__(holder, name, mark)

    def _holder(self, path: list[str], *, copies: bool) -> dict[str, Any]:
        """The dict at a path; on the way there each is a copy, if it is to be changed."""
        if copies and id(self.value) not in self._copied:
            self.value = self._copy(self.value)
        holder: Any = self.value
        for name in path:
            inner = dict.__getitem__(holder, name)
            if copies and id(inner) not in self._copied:
                inner = self._copy(inner)
                dict.__setitem__(holder, name, inner)
            holder = inner
        return holder  # type: ignore[no-any-return]

    def _copy(self, value: Any) -> dict[Any, Any]:
        copied = dict(dict.items(value))
        self._copied.add(id(copied))
        return copied


def _filled(run: Run, where: str, text: bytes, shadow: _Shadow) -> tuple[bytes, list[MaskedPart]]:
    """The text with the parts where their marks stood, and where they are in it."""
    found = sorted((text.index(f'"{mark}"'.encode("ascii")), mark) for mark in shadow.hidden)
    parts: list[bytes] = []
    masked: list[MaskedPart] = []
    end = size = 0
    for start, mark in found:
        value, spoken, is_value = shadow.hidden[mark]
        part = run.json_text(where, value, spoken)
        parts += (text[end:start], part)
        size += start - end
        masked.append((size, len(part), is_value))
        size += len(part)
        end = start + len(mark) + 2
    parts.append(text[end:])
    return b"".join(parts), masked
