"""Every layer as the host sees it: /proc of a walled worker, of its zygote and of the process before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from whd.sandbox.isolation import LAYERS, REQUIRABLE, LayerReport, summary

from .walled import Held, Zygote, read_status

NAMESPACES = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
NO_CAPABILITIES = "0" * 16

only_root_can_see = pytest.mark.skipif(
    os.geteuid() != 0, reason="a process that is not dumpable shows this to root alone"
)


@pytest.fixture
def worker(zygote: Zygote) -> Iterator[Held]:
    held = zygote.hold()
    yield held
    assert zygote.reap(held) == 0


def kernel_uid(zygote: Zygote) -> int:
    """Root's workers are nobody outside, an ordinary user's are that user."""
    return 65534 if zygote.uid == 0 else zygote.uid


@pytest.mark.parametrize("name", [name for name in REQUIRABLE if name not in ("cgroup", "seccomp")])
def test_the_layer_reports_that_it_engaged(zygote: Zygote, name: str) -> None:
    answer = zygote.run("value = reports", seccomp=True)
    report = summary([LayerReport(*fields) for fields in (*zygote.reports, *answer["value"])], [name])[0]
    assert report == LayerReport(name, True, "")


def test_the_filter_reports_that_it_engaged(zygote: Zygote) -> None:
    assert zygote.run("value = reports[-1]")["value"] == ["seccomp", True, ""]


def test_reports_come_in_the_order_of_the_list(zygote: Zygote) -> None:
    assert [name for name, _, _ in zygote.reports] == [name for stage, name, _ in LAYERS if stage == "zygote"]


def test_a_worker_has_a_filter_and_no_privileges(worker: Held) -> None:
    status = worker.status()
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert status[kind] == NO_CAPABILITIES
    assert status["Threads"] == "1"


def test_a_worker_is_nobody_for_root_and_the_user_for_a_user(zygote: Zygote, worker: Held) -> None:
    assert set(worker.status()["Uid"].split()) == {str(kernel_uid(zygote))}
    if zygote.uid == 0:
        assert worker.status()["Groups"] == ""


def test_a_worker_lives_in_a_pid_namespace(zygote: Zygote, worker: Held) -> None:
    assert worker.status()["NSpid"].split() == [str(worker.pid), str(worker.inner_pid)]
    assert worker.status()["PPid"] == str(zygote.pid)


@only_root_can_see
@pytest.mark.parametrize("kind", NAMESPACES)
def test_a_worker_is_in_another_namespace(worker: Held, kind: str) -> None:
    assert os.readlink(f"/proc/{worker.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


@only_root_can_see
def test_a_worker_has_one_descriptor_an_empty_root_and_no_environment(worker: Held) -> None:
    assert os.listdir(f"/proc/{worker.pid}/fd") == ["3"]
    assert os.listdir(f"/proc/{worker.pid}/root") == []
    assert os.readlink(f"/proc/{worker.pid}/cwd") == "/"
    assert Path(f"/proc/{worker.pid}/environ").read_bytes().strip(b"\0") == b""


@only_root_can_see
def test_only_one_mount_is_left_and_it_is_read_only(worker: Held) -> None:
    (mount,) = Path(f"/proc/{worker.pid}/mounts").read_text().splitlines()
    assert mount.split()[1:3] == ["/", "tmpfs"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.split()[3].split(","))


def test_a_worker_has_its_limits(worker: Held) -> None:
    lines = Path(f"/proc/{worker.pid}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines[1:]}
    for name in ("Max core file size", "Max file size", "Max processes", "Max locked memory", "Max open files"):
        assert limits[name] == ["0", "0"]
    assert 110 <= int(limits["Max cpu time"][1]) <= 120
    assert 64 * 1024 * 1024 < int(limits["Max address space"][1]) < 1024**3


def test_another_process_of_the_same_user_cannot_look_inside(worker: Held) -> None:
    """Not dumpable: its files in /proc belong to root."""
    assert os.stat(f"/proc/{worker.pid}/mem").st_uid == 0


def test_the_process_that_waits_is_walled_as_well(zygote: Zygote) -> None:
    """It was started by the daemon, so its number is known to it."""
    status = read_status(zygote.outer.pid)
    assert zygote.outer.pid != zygote.pid
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapEff"] == status["CapBnd"] == NO_CAPABILITIES
    assert set(status["Uid"].split()) == {str(kernel_uid(zygote))}


@only_root_can_see
def test_the_process_that_waits_holds_nothing_open(zygote: Zygote) -> None:
    assert os.listdir(f"/proc/{zygote.outer.pid}/fd") == []
    assert os.listdir(f"/proc/{zygote.outer.pid}/root") == []
