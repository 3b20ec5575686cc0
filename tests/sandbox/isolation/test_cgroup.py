"""The group of the flows, in a folder that looks like a delegated cgroup v2; the real one needs systemd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whd.sandbox.isolation.cgroup import join_at
from whd.sandbox.isolation.wall import Wall

SERVICE = "0::/system.slice/whd.service\n"


def wall(**config: int) -> Wall:
    return Wall(config, parent_pid=0)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A hierarchy whose service whd.service is delegated, with two processes in it."""
    service = tmp_path / "system.slice" / "whd.service"
    for folder in (service, service / "daemon", service / "flows"):
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("")
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    (service / "cgroup.controllers").write_text("cpu memory pids\n")
    try:
        os.setxattr(service, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"this file system keeps no attributes: {error}")
    return tmp_path


def test_the_zygote_joins_the_group_of_the_flows(mount: Path) -> None:
    service = mount / "system.slice" / "whd.service"
    assert join_at(wall(cgroup_memory_bytes=10**9), mount, SERVICE) == ""
    assert (service / "flows" / "cgroup.procs").read_text() == str(os.getpid())
    assert (service / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (service / "flows" / "memory.max").read_text() == "1000000000"
    assert (service / "flows" / "pids.max").read_text() == "4096"
    assert (service / "flows" / "cpu.weight").read_text() == "50"


def test_without_a_limit_for_memory_none_is_set(mount: Path) -> None:
    assert join_at(wall(), mount, SERVICE) == ""
    assert not (mount / "system.slice" / "whd.service" / "flows" / "memory.max").exists()


def test_the_daemon_moves_into_a_leaf_first(mount: Path) -> None:
    service = mount / "system.slice" / "whd.service"
    (service / "cgroup.procs").write_text("4711\n")
    join_at(wall(), mount, SERVICE)
    assert (service / "daemon" / "cgroup.procs").read_text() == "4711"


def test_a_second_zygote_of_a_daemon_in_its_leaf_joins_the_same_group(mount: Path) -> None:
    assert join_at(wall(), mount, SERVICE.replace("whd.service", "whd.service/daemon")) == ""
    service = mount / "system.slice" / "whd.service"
    assert (service / "flows" / "cgroup.procs").read_text() == str(os.getpid())


def test_a_group_that_is_not_delegated_is_left_alone(mount: Path) -> None:
    service = mount / "system.slice" / "whd.service"
    os.setxattr(service, "user.delegate", b"0")
    reason = join_at(wall(), mount, SERVICE)
    assert "not delegated" in reason
    assert "Delegate=" in reason
    assert not (service / "cgroup.subtree_control").exists()


def test_missing_controllers_are_named(mount: Path) -> None:
    (mount / "system.slice" / "whd.service" / "cgroup.controllers").write_text("cpu\n")
    assert "only these controllers are delegated: cpu" in join_at(wall(), mount, SERVICE)


def test_a_hierarchy_of_version_1_is_named(tmp_path: Path) -> None:
    assert "cgroup v2 is not mounted" in join_at(wall(), tmp_path, "4:memory:/x\n0::/\n")
