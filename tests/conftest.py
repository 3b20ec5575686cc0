"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Project, RunningDaemon, running, simple_project

pytest_plugins = ["tests.processes", "tests.progress"]


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


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI, where .ci/run installs every tool, a test that skips for want of one is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None and "CI" in os.environ else []
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    if any("is not installed" in reason for reason in reasons):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
