"""What a flow gets from outside: plain JSON values; only headers are looked up without regard to case.

Pure values. Both classes are dicts in every other respect and are written out as such.
"""

from __future__ import annotations

from typing import Any


class Headers(dict[str, Any]):
    """A message's headers, names in lower case; `headers["X-GitHub-Event"]` finds "x-github-event" (RFC 9110, 5.1)."""

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        if type(name) is str and (lower := name.lower()) != name:
            return self[lower]
        raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or (type(name) is str and dict.__contains__(self, name.lower()))

    def get(self, name: str, default: Any = None, /) -> Any:
        """dict.get, ignoring case."""
        value = dict.get(self, name, self)
        if value is not self:
            return value
        return dict.get(self, name.lower(), default) if type(name) is str else default


class WebhookInput(dict[str, Any]):
    """A webhook call's input_value: flows may read `json` as `data_json` too."""

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        if type(name) is str and name == "data_json":
            return self["json"]
        raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or (
            type(name) is str and name == "data_json" and dict.__contains__(self, "json")
        )

    def get(self, name: str, default: Any = None, /) -> Any:
        """dict.get, with the other name of `json`."""
        if type(name) is str and name == "data_json" and not dict.__contains__(self, name):
            name = "json"
        return dict.get(self, name, default)


def as_output(value: Any) -> Any:
    """A child's output_value as its parent sees it: a REST task's is recognised by its members (FLOW_API)."""
    if type(value) is dict and "status_code" in value and type(value.get("headers")) is dict:
        value["headers"] = Headers(value["headers"])
    return value


def as_input(value: Any) -> Any:
    """The input_value as a flow sees it: a webhook call's is recognised by its members (CONTRACT 3)."""
    if type(value) is dict:
        headers = value.get("headers")
        if type(headers) is dict and "method" in value and "path" in value and "query" in value:
            value["headers"] = Headers(headers)
            return WebhookInput(value)
    return value
