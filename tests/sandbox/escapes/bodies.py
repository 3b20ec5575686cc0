"""Flows whose handlers' bodies are what a test is about."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent

from ..far_side import Ended

InOneProcess = Callable[..., list[Ended]]


def handler(body: str) -> str:
    """A flow whose handler runs the body."""
    return "def handler(system, this):\n" + indent(dedent(body).strip("\n"), "    ") + "\n"
