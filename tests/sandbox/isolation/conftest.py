"""Fixtures: walled zygotes, started once per session, as root and as an ordinary user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import pytest

from . import walled


class Start(Protocol):
    """Starts a zygote of the test's own."""

    def __call__(self, config: dict[str, object] | None = None, *, behind_daemon: bool = False) -> walled.Zygote: ...


def _uid_for(who: str) -> int | None:
    """The uid to start as, None for the own; skips where that cannot be."""
    is_root = os.geteuid() == 0
    if who == "root":
        if not is_root:
            pytest.skip("the tests do not run as root")
        return None
    if not is_root:
        return None
    if reason := walled.why_unreadable(walled.ORDINARY_UID):
        pytest.skip(f"an ordinary user cannot run this interpreter or read this checkout: {reason}")
    return walled.ORDINARY_UID


@pytest.fixture(scope="session", params=["root", "ordinary"])
def uid(request: pytest.FixtureRequest) -> int | None:
    """Runs the test twice: with a root daemon's zygote and with an ordinary user's."""
    return _uid_for(request.param)


@pytest.fixture(scope="session")
def shared_zygote(uid: int | None) -> Iterator[walled.Zygote]:
    zygote = walled.Zygote(uid)
    yield zygote
    zygote.close()


@pytest.fixture
def zygote(shared_zygote: walled.Zygote) -> walled.Zygote:
    """A walled zygote that many tests share: leave it as it was."""
    return shared_zygote


@pytest.fixture
def start(uid: int | None) -> Iterator[Start]:
    """Starts zygotes of the test's own, ended after it."""
    started = []

    def begin(config: dict[str, object] | None = None, *, behind_daemon: bool = False) -> walled.Zygote:
        started.append(walled.Zygote(uid, config, behind_daemon=behind_daemon))
        return started[-1]

    yield begin
    for zygote in started:
        zygote.close()
