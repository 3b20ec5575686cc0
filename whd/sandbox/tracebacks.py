"""What a flow's author reads when the flow fails: type, text, and the flow's own lines with their source.

Frames of the worker and of libraries are left out: they are not the author's, and nobody else's business. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

MAX_FRAMES = 20
MAX_TEXT_CHARS = 16_384
MAX_GROUP_ERRORS = 10
MAX_GROUP_DEPTH = 3


def describe_failure(error: BaseException, sources: Mapping[str, list[str]]) -> str:
    """The message of a failed execution. `sources`: the lines of the flow and its modules, by file name in the code."""
    shown = _frames(error.__traceback__, sources)
    head = ["Traceback (most recent call last):", *shown] if shown else []
    return "\n".join([*head, describe_error(error)])


def describe_error(error: BaseException, depth: int = 0) -> str:
    """TypeName: text, as Python ends a traceback; below a group, the errors in it."""
    kind = type(error)
    module = kind.__module__
    name = kind.__qualname__
    if module not in ("builtins", "<flow>"):
        name = f"{module}.{name}"
    try:
        text = str.__str__(str(error))
    except BaseException as failure:  # the flow's own __str__ may raise anything; its failure becomes the text
        text = f"<its text cannot be made: {type(failure).__name__}>"
    if len(text) > MAX_TEXT_CHARS:
        text = text[:MAX_TEXT_CHARS] + "…"
    line = f"{name}: {text}" if text else name
    return line if depth > MAX_GROUP_DEPTH or not isinstance(error, BaseExceptionGroup) else _group(line, error, depth)


def _group(line: str, group: BaseExceptionGroup[Any], depth: int) -> str:
    """A group's text with those of the errors in it."""
    errors = vars(BaseExceptionGroup)["exceptions"].__get__(group)
    lines = [describe_error(error, depth + 1).replace("\n", "\n  ") for error in errors[:MAX_GROUP_ERRORS]]
    if len(errors) > MAX_GROUP_ERRORS:
        lines.append(f"… {len(errors) - MAX_GROUP_ERRORS} more …")
    return "\n  - ".join([line, *lines])[:MAX_TEXT_CHARS]


def _frames(traceback: TracebackType | None, sources: Mapping[str, list[str]]) -> list[str]:
    shown: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        path = code.co_filename
        lines = sources.get(path)
        if lines is not None:
            number = traceback.tb_lineno
            where = f'  File "{path}", line {number}, in {code.co_name}'
            source = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            shown.append(f"{where}\n    {source}" if source else where)
        traceback = traceback.tb_next
    if len(shown) > MAX_FRAMES:
        half = MAX_FRAMES // 2
        shown[half:-half] = [f"  … {len(shown) - MAX_FRAMES} more calls …"]
    return shown
