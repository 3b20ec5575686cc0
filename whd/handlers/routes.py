"""The one route table: path, methods, who may, which handler. Pure.

`/api/1/…` and `/api/latest/…` are the same as `/api/…`, as on the original platform.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from ..errors import MethodNotAllowed, NotFound


class Access(enum.Enum):
    """What a route asks of its caller; guards.GUARDS has who asks it."""

    PUBLIC = "nothing; the answer names no client, webhook or secret"
    WEBHOOK = "what the webhook's caller check asks for"
    EXECUTION = "what that of the webhook asks for, as it stands now, that the execution's tree came through"


@dataclass(frozen=True, slots=True)
class Route:
    """`path`: segments; one in braces matches anything and gives a parameter. `methods` without HEAD, which is GET."""

    name: str
    path: tuple[str, ...]
    methods: tuple[str, ...]
    access: Access


WEBHOOK = Route("webhook", ("api", "webhook", "{client}", "{webhook}"), ("GET", "POST"), Access.WEBHOOK)
EXECUTION = Route("execution", ("api", "execution", "{client}", "{id}"), ("GET", "DELETE"), Access.EXECUTION)
HEALTHZ = Route("healthz", ("healthz",), ("GET",), Access.PUBLIC)
READYZ = Route("readyz", ("readyz",), ("GET",), Access.PUBLIC)
ROUTES = (WEBHOOK, EXECUTION, HEALTHZ, READYZ)

_API_VERSIONS = ("1", "latest")


def match(path: str, routes: Iterable[Route] = ROUTES) -> tuple[Route, tuple[str, ...]]:
    """The route of a path (without query) and its parameters, percent-decoded. Raises NotFound.

    Segments are split before they are decoded (RFC 3986, 2.4), so that %2F never makes a new one.
    """
    segments = path.split("/")
    if len(segments) > 2 and segments[1] == "api" and segments[2] in _API_VERSIONS:
        del segments[2]
    if segments[0]:
        raise NotFound
    wanted = segments[1:]
    for route in routes:
        if len(route.path) == len(wanted):
            parameters = []
            for pattern, segment in zip(route.path, wanted, strict=True):
                if pattern[0] == "{":
                    parameters.append(unquote(segment) if "%" in segment else segment)
                elif pattern != segment:
                    break
            else:
                return route, tuple(parameters)
    raise NotFound


def check_method(method: str, allowed: tuple[str, ...], *, head_runs_nothing: bool = False) -> None:
    """HEAD goes where GET goes (RFC 9110, 9.3.2), and everywhere if it runs nothing. Raises MethodNotAllowed."""
    if method in allowed:
        return
    allows_head = head_runs_nothing or "GET" in allowed
    if method != "HEAD" or not allows_head:
        raise MethodNotAllowed((*allowed, "HEAD") if allows_head else allowed)
