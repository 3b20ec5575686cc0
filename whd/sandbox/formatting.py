"""str.format and str.format_map for flows: the same texts, but fields reach attributes only through the guard.

The format language reads attributes and items by itself ("{0.__class__}": CVE-2023-41039), so templates with fields
that do are taken apart here; all others go to Python's own method.
"""

from __future__ import annotations

import re
import string
from _string import formatter_field_name_split  # type: ignore[import-not-found]  # the C half of string, without stubs
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Fields that are a bare name or number, with a conversion and a format without fields of its own.
_IS_PLAIN = re.compile(r"(?:[^{}]|\{\{|\}\}|\{[A-Za-z0-9_ ]*(?:![rsa])?(?::[^{}]*)?\})*").fullmatch


def is_plain_template(text: Any) -> bool:
    """Whether Python's own format may have it: its fields reach no attributes."""
    return type(text) is str and _IS_PLAIN(text) is not None


class _Formatter(string.Formatter):
    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._read = read

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        first, rest = formatter_field_name_split(field_name)
        value = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            value = self._read(value, key) if is_attribute else value[key]
        return value, first


class SafeFormat:
    """The two functions that a flow gets for `text.format` and `text.format_map`. `read`: the guarded getattr."""

    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._vformat = _Formatter(read).vformat

    def format(self, text: str, /, *args: Any, **kwargs: Any) -> str:
        """str.format."""
        template = str.__str__(text)  # an exact str, whatever a subclass says of itself
        if _IS_PLAIN(template):
            return template.format(*args, **kwargs)
        return self._vformat(template, args, kwargs)

    def format_map(self, text: str, mapping: Mapping[str, Any], /) -> str:
        """str.format_map."""
        template = str.__str__(text)
        if _IS_PLAIN(template):
            return template.format_map(mapping)
        return self._vformat(template, (), mapping)
