"""What signals ask of a daemon, and the descriptors that it is started without; with one process and with several."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.running import ROOT, Project, RunningDaemon, running, wait_for

SLEEP_FLOW = """
def handler(system, this):
    this.sleep(0.5)
    return this.success('slept')
"""
HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture(params=[1, 2], ids=["one process", "two fronts"])
def served(request: pytest.FixtureRequest, project: Project) -> Project:
    project.options(processes=request.param)
    return project


def has_logged(daemon: RunningDaemon, text: str, count: int) -> bool:
    return daemon.log.count(text) >= count


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_it_reloads(served: Project, number: int) -> None:
    path = served.endpoint("echo")
    with running(served) as daemon:
        before = len(daemon.messages)
        daemon.signal(number)
        daemon.wait_message("RELOADING", "1")
        daemon.wait_message("READY", "1")
        assert len(daemon.messages) > before
        assert daemon.get(path).status == 200


def test_sigusr2_is_ignored_with_a_line(served: Project) -> None:
    path = served.endpoint("echo")
    with running(served) as daemon:
        daemon.signal(signal.SIGUSR2)
        wait_for(partial(has_logged, daemon, "SIGUSR2 is ignored", 1), "the line")
        assert daemon.get(path).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_it_drains(served: Project, number: int) -> None:
    path = served.endpoint("sleep", SLEEP_FLOW)
    with running(served) as daemon:
        with contextlib.closing(daemon.connect()) as connection:
            connection.request("GET", path)
            wait_for(lambda: daemon.ask("status")["executions"]["live"], "the flow to run")
            daemon.signal(number)
            assert connection.getresponse().status == 200
        assert daemon.process.wait(20) == 0


@pytest.mark.parametrize("number", [*HARMLESS, signal.SIGINT, signal.SIGQUIT])
def test_what_belongs_to_the_daemon_may_hear_it_too(served: Project, number: int) -> None:
    """`systemctl kill` sends a signal to every process of the service: no flow and no front may end of it."""
    path = served.endpoint("sleep", SLEEP_FLOW)
    with running(served) as daemon:
        assert daemon.get(path).status == 200
        with contextlib.closing(daemon.connect()) as connection:
            connection.request("GET", path)
            wait_for(lambda: daemon.ask("status")["executions"]["live"], "the flow to run")
            pids = set(daemon.processes())
            for pid in pids:
                os.kill(pid, number)
            assert connection.getresponse().status == 200
        assert pids <= set(daemon.processes())
        assert daemon.get(path).status == 200


def test_what_asks_to_reload_does_not_end_a_daemon_that_only_starts(project: Project) -> None:
    """Once the command line is read; a process that is not Python yet dies of a signal, as any does."""
    script = (
        "import os, signal; from whd import cli, commands\n"
        f"commands.load = lambda name: [os.kill(os.getpid(), number) for number in {list(map(int, HARMLESS))}] "
        "and (lambda paths, given: 7)\n"
        "raise SystemExit(cli.main(['serve']))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 7


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2), (1, 2)], ids=str)
def test_it_serves_without_standard_streams(served: Project, which: tuple[int, ...]) -> None:
    path = served.endpoint("echo")
    shell = "exec " + " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in which) + '; exec "$@"'
    with running(served, prefix=("/bin/sh", "-c", shell, "sh")) as daemon:
        assert daemon.get(path).status == 200
        assert daemon.get(f"{path}?async").status == 202
        for pid in [daemon.process.pid, *daemon.processes()]:
            for number in which:
                try:
                    target = os.readlink(f"/proc/{pid}/fd/{number}")
                except FileNotFoundError:
                    continue  # closed, as a worker's are
                assert target == "/dev/null"
        daemon.signal(signal.SIGHUP)
        assert daemon.get(path).status == 200


def test_it_serves_when_nobody_reads_its_log_any_more(served: Project) -> None:
    path = served.endpoint("echo")
    fifo = served.folder / "log"
    shell = f"mkfifo '{fifo}'; (: <'{fifo}') & exec \"$@\" >'{fifo}' 2>&1"
    with running(served, prefix=("/bin/sh", "-c", shell, "sh")) as daemon:
        for _ in range(3):
            daemon.signal(signal.SIGUSR2)
            assert daemon.get(path).status == 200
