"""One call of a flow: its execution, checked access to its arguments, and the errors it may be answered with. Pure."""

from __future__ import annotations

import json
from typing import Any

from ..model.execution import Execution
from ..pool.job import Job
from ..wire.masking import MaskedPart
from ..wire.timestamps import timestamp

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

MAX_NAME_CHARS = 1_000
MOST_TEXTS = 100
MAX_KINDS_CHARS = 4_096


class CallError(Exception):
    """A call that is answered with an error: `kind` is the name of the flow_api error that it becomes in the flow."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def invalid(text: str) -> CallError:
    """The error for wrong arguments."""
    return CallError("InvalidInputError", text)


def not_found(what: str) -> CallError:
    """The error for a record that does not exist."""
    return CallError("ResourceNotFoundError", what)


class FlowCall:
    """A call with its arguments. The worker is hostile: nothing is believed before a method here has checked it.

    `raw`: bytes that came along, bounded by the execution's limits and otherwise unchecked.
    """

    __slots__ = ("_arguments", "execution", "job", "name", "number", "raw")

    def __init__(
        self, execution: Execution, job: Job, number: int, name: str, arguments: Any, raw: bytes = b""
    ) -> None:
        self.execution = execution
        self.job = job
        self.number = number
        self.name = name
        self.raw = raw
        self._arguments = arguments

    def check(self) -> None:
        """Raises CallError unless the arguments are one object."""
        if type(self._arguments) is not dict:
            raise invalid(f"{self.name}: the arguments are not an object")

    def has(self, name: str) -> bool:
        """Whether an argument is given, be it null."""
        return name in self._arguments

    def text(self, name: str, limit_chars: int = MAX_NAME_CHARS) -> str:
        """A text argument that must be there, without lone surrogates. Raises CallError."""
        value = self._arguments.get(name)
        if type(value) is not str:
            raise invalid(f"{name} must be text, not {type(value).__name__}")
        if len(value) > limit_chars:
            raise invalid(f"{name} must be text of at most {limit_chars} characters, not {len(value)}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise invalid(f"{name} has a half of a surrogate pair, which is no text") from None
        return value

    def text_or_none(self, name: str, limit_chars: int = MAX_NAME_CHARS) -> str | None:
        """A text argument that may be missing or null. Raises CallError."""
        return None if self._arguments.get(name) is None else self.text(name, limit_chars)

    def number_or_none(self, name: str) -> float | None:
        """A finite number that may be missing or null. Raises CallError."""
        value = self._arguments.get(name)
        if value is None:
            return None
        if type(value) not in (int, float):
            raise invalid(f"{name} must be a number, not {type(value).__name__}")
        # With more, the clock's arithmetic would overflow; every execution's timeout_s is shorter.
        return float(min(max(value, -1e9), 1e12))

    def flag(self, name: str) -> bool:
        """True or false, false when missing. Raises CallError."""
        value = self._arguments.get(name, False)
        if type(value) is not bool:
            raise invalid(f"{name} must be true or false, not {type(value).__name__}")
        return value

    def texts(self, name: str, limit: int) -> list[str]:
        """A list of texts. Raises CallError."""
        value = self._arguments.get(name)
        if type(value) is not list or len(value) > limit or not all(type(item) is str for item in value):
            raise invalid(f"{name} must be a list of at most {limit} texts")
        return value

    def texts_or_none(self, name: str) -> list[str]:
        """A list of texts, empty when missing. Raises CallError."""
        return self.texts(name, MOST_TEXTS) if self.has(name) else []

    def masked_parts(self, name: str) -> list[MaskedPart]:
        """Where protected parts stand in `raw`, none when missing. Raises CallError."""
        value = self._arguments.get(name)
        if value is None:
            return []
        if type(value) is not list or not all(map(_is_masked_part, value)):
            raise invalid(f"{name} must be a list of a start, a length and a flag each")
        return [(start, size, is_value) for start, size, is_value in value]

    def kinds_json(self, name: str) -> str:
        """Paths within an input, as JSON in ASCII; "" when missing. Raises CallError."""
        value = self._arguments.get(name)
        if value is None:
            return ""
        if type(value) is not list or not all(type(path) is list and set(map(type, path)) == {str} for path in value):
            raise invalid(f"{name} must be a list of paths")
        text = _encode(value)
        # Too much to tell each child: it sees plain dicts.
        return text if len(text) <= MAX_KINDS_CHARS else ""

    def mapping(self, name: str) -> dict[str, Any]:
        """An object, empty when missing or null. Raises CallError."""
        value = self._arguments.get(name)
        if value is None:
            return {}
        if type(value) is not dict:
            raise invalid(f"{name} must be a dict, not {type(value).__name__}")
        return value

    def json(self, name: str) -> bytes:
        """Any value, as JSON text; null when missing."""
        try:
            return _encode(self._arguments.get(name)).encode("ascii")
        except ValueError:
            raise invalid(f"{name} has a number that is too large for JSON") from None


def _is_masked_part(part: Any) -> bool:
    return type(part) is list and list(map(type, part)) == [int, int, bool]


def json_bytes(value: Any) -> bytes:
    """An answer's value as JSON text."""
    return _encode(value).encode("ascii")


def times_json(created_ms: int, modified_ms: int) -> bytes:
    """{created_at, modified_at} as JSON text; null for what is not known (0)."""
    times = {"created_at": created_ms, "modified_at": modified_ms}
    return json_bytes({name: timestamp(ms) if ms else None for name, ms in times.items()})
