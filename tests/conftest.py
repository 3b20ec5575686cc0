"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Project, RunningDaemon, running, simple_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with the client acme, whose user kevin may run everything, and no webhook yet."""
    return simple_project(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same for all tests of a module, which give their webhooks names of their own."""
    return simple_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def daemon(shared_project: Project) -> Iterator[RunningDaemon]:
    """One daemon for all tests of a module."""
    with running(shared_project) as started:
        yield started
