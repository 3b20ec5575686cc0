"""Who can end whom: the daemon its workers, the zygote its workers, and nobody is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import Start
from .walled import Zygote, as_user, has_ended, why_unreadable

# What a daemon of the workers' own user does with a pidfd that it was sent.
USERS_DAEMON = """
import re, signal, sys, time
fd = int(sys.argv[1])
pid = int(re.search(r"^Pid:\\s*(\\d+)", open(f"/proc/self/fdinfo/{fd}").read(), re.M)[1])
assert time.clock_gettime((~pid << 3) | 2) >= 0
signal.pidfd_send_signal(fd, signal.SIGKILL)
"""


def test_a_pidfd_that_was_sent_kills_the_worker(zygote: Zygote) -> None:
    """pidfd_open(2) inside, SCM_RIGHTS, pidfd_send_signal(2) outside: across the pid namespace and without dumpable."""
    held = zygote.hold()
    signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
    assert has_ended(held.pidfd)
    assert zygote.reap(held) == -signal.SIGKILL


def test_a_daemon_of_the_same_user_needs_no_root_for_that(zygote: Zygote) -> None:
    held = zygote.hold()
    uid = (zygote.uid or 65534) if os.geteuid() == 0 else None
    if uid is not None and (reason := why_unreadable(uid)):
        pytest.skip(f"another user cannot run this interpreter: {reason}")
    command = as_user(uid, [sys.executable, "-I", "-B", "-c", USERS_DAEMON, str(held.pidfd)])
    subprocess.run(command, pass_fds=[held.pidfd], cwd="/", check=True)
    assert has_ended(held.pidfd)
    assert zygote.reap(held) == -signal.SIGKILL


def test_a_stranger_cannot_kill_a_worker(zygote: Zygote) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become a stranger")
    held = zygote.hold()
    if reason := why_unreadable(20002):
        pytest.skip(f"another user cannot run this interpreter: {reason}")
    command = as_user(20002, [sys.executable, "-I", "-B", "-c", USERS_DAEMON, str(held.pidfd)])
    ended = subprocess.run(command, pass_fds=[held.pidfd], cwd="/", stderr=subprocess.PIPE)
    assert b"PermissionError" in ended.stderr
    signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
    assert zygote.reap(held) == -signal.SIGKILL


def test_a_workers_cpu_time_is_read_from_outside(zygote: Zygote) -> None:
    """clock_getcpuclockid(3) by hand: the CPU clock of the number that fdinfo shows for the pidfd."""
    held = zygote.hold("begin = time.process_time()\nwhile time.process_time() < begin + 0.05: pass")
    used_s = time.clock_gettime((~held.pid << 3) | 2)
    assert 0.05 <= used_s < 2.0
    assert time.clock_gettime((~held.pid << 3) | 2) == used_s  # it waits
    signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
    zygote.reap(held)


def test_the_kernel_ends_what_the_daemon_forgot(zygote: Zygote) -> None:
    """RLIMIT_CPU, made short by a worker's own hand; Python cannot catch it."""
    source = """
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True: pass
"""
    assert zygote.run(source, seccomp=False) == {"exit": -signal.SIGKILL}


@pytest.mark.parametrize("status", [0, 7])
def test_the_exit_status_of_the_zygote_is_passed_on(start: Start, status: int) -> None:
    zygote = start()
    zygote.control.send(b'{"do": "exit", "status": %d}' % status)
    assert zygote.outer.wait(20) == status


def test_a_zygote_that_is_killed_takes_its_workers_along_and_is_reported(start: Start) -> None:
    zygote = start()
    workers = [zygote.hold(), zygote.hold()]
    signal.pidfd_send_signal(zygote.pidfd, signal.SIGKILL)
    assert all(has_ended(held.pidfd) for held in workers)
    assert zygote.outer.wait(20) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ending_the_process_that_was_started_ends_all(start: Start, number: int) -> None:
    zygote = start()
    held = zygote.hold()
    zygote.outer.send_signal(number)
    assert zygote.outer.wait(20) == -number
    assert has_ended(zygote.pidfd)
    assert has_ended(held.pidfd)


def test_the_death_of_the_daemon_ends_all(start: Start) -> None:
    zygote = start(behind_daemon=True)
    held = zygote.hold()
    zygote.outer.kill()
    assert has_ended(zygote.pidfd)
    assert has_ended(held.pidfd)


def test_without_a_pid_namespace_they_die_together_too(start: Start) -> None:
    zygote = start({"skip": ["namespaces"]}, behind_daemon=True)
    held = zygote.hold()
    zygote.outer.kill()
    assert has_ended(zygote.pidfd)
    assert has_ended(held.pidfd)


def test_a_terminals_interrupt_does_not_reach_the_zygote(zygote: Zygote) -> None:
    assert os.getsid(zygote.pid) != os.getsid(0)
