"""Ends what ran the commands."""

from __future__ import annotations

from .typed import commands


def pytest_sessionfinish() -> None:
    if commands.cache_info().currsize:
        commands().close()
        commands.cache_clear()
