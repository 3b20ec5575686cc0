"""Random trees of children with random failures: all of them end, and every record fits its family."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, simple_project, wait_for
from whd.errors import WhdError

NODE = """
import flow_api

def handler(system, this, inputs):
    spec = inputs.get('json', inputs)
    children = []
    for child in spec['children']:
        children.append(this.flow('node', **child, name=child['path'], run=False))
    for child in children:
        child.run_async()
    mode = spec['mode']
    if mode == 'sleep':
        this.sleep(0.02)
    if mode == 'loop':
        while True:
            pass
    if mode == 'stuck':
        this.sleep(600)
    if mode == 'leave':
        return this.success('left')
    if mode == 'die':
        chain = iter(())
        for _ in range(1_000_000):
            chain = map(str, chain)
        list(chain)
    if children:
        try:
            this.wait_for(*children, return_when=spec['when'])
        except flow_api.DependencyFailedError:
            if mode == 'careful':
                return this.success('saw it')
            raise
    if mode == 'fail':
        raise ValueError('as it was told')
    if mode == 'crash':
        x = 'x' * 10**12
    if mode == 'cancel' and children:
        children[0].cancel()
    return this.success(mode)
"""
MODES = ["ok"] * 7 + ["sleep"] * 3 + "fail crash die careful careful leave cancel loop stuck".split()
# How a node in that mode never ends.
HOPELESS = {"fail", "crash", "die", "loop", "stuck"}
WHENS = ["ALL_SUCCEEDED", "ALL_ENDED", "FIRST_ENDED"]


def tree(choose: random.Random, depth: int, path: str = "0") -> dict[str, Any]:
    """Mostly wide, now and then a long line."""
    count = choose.choice([0, 1, 1, 2, 3]) if depth else 0
    deeper = depth - 1 if count > 1 else depth - choose.choice([0, 1])
    if len(path) > 24:
        count = 0
    return {
        "path": path,
        "mode": choose.choice(MODES),
        "when": choose.choice(WHENS),
        "children": [tree(choose, deeper, f"{path}.{index}") for index in range(count)],
    }


def nodes(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield spec
    for child in spec["children"]:
        yield from nodes(child)


def is_idle(daemon: RunningDaemon) -> bool:
    executions = daemon.ask("status")["executions"]
    return (executions["live"], executions["running"], executions["waiting"]) == (0, 0, 0)


def parked(daemon: RunningDaemon) -> int:
    """How many executions wait for an answer of the daemon, 0 while others run or are about to."""
    executions = daemon.ask("status")["executions"]
    return 0 if executions["running"] or executions["waiting"] else int(executions["live"])


def disturb(daemon: RunningDaemon, choose: random.Random) -> None:
    """Cancels an execution, or kills a process that runs flows, whichever it is."""
    if choose.random() < 0.5:
        rows = daemon.ask("executions.list", status="RUNNING", limit=100)
        if rows:
            with contextlib.suppress(WhdError):  # it has ended since
                daemon.ask("executions.cancel", id=choose.choice(rows)["id"])
        return
    pids = daemon.processes()
    parents = {parent_of(pid) for pid in pids}
    workers = [pid for pid in pids if pid not in parents]
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(choose.choice(workers), signal.SIGKILL)


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.parametrize("is_disturbed", [False, True], ids=["left alone", "cancelled and killed at random"])
@pytest.mark.parametrize("seed", range(3))
def test_all_end_and_every_record_fits(tmp_path_factory: pytest.TempPathFactory, seed: int, is_disturbed: bool) -> None:
    project: Project = simple_project(tmp_path_factory.mktemp("trees"))
    project.options(workers=2)
    path = project.endpoint("node", NODE, timeout_s=1)
    choose = random.Random(seed)
    specs: dict[str, dict[str, Any]] = {}
    with running(project) as daemon:
        assert daemon.post(path, {"path": "0", "mode": "ok", "when": "ALL_ENDED", "children": []}).status == 200
        for _ in range(6):
            spec = tree(choose, 3)
            specs[daemon.post(f"{path}?async", spec).json["id"]] = spec
        for _ in range(12 if is_disturbed else 0):
            disturb(daemon, choose)
            daemon.ask("status")
        wait_for(lambda: is_idle(daemon), "all to end", 120)
        rows = daemon.ask("executions.list", limit=10_000)
        records = {row["id"]: {**row, "name": daemon.ask("executions.show", id=row["id"])["name"]} for row in rows}
        for top_id, spec in specs.items():
            assert_family_fits(records, top_id, spec)
        assert daemon.ask("status")["workers"]["busy"] == 0
        # Nothing that they left behind is in the way of the next one.
        assert daemon.post(path, {"path": "0", "mode": "ok", "when": "ALL_ENDED", "children": []}).status == 200
        assert "Traceback" not in daemon.log


def assert_family_fits(records: dict[str, Any], top_id: str, spec: dict[str, Any]) -> None:
    """Each record of a tree against the others and against what its node was told to do."""
    by_path: dict[str, Any] = {spec["path"]: records[top_id]}
    children: dict[str, list[Any]] = {}
    for record in records.values():
        children.setdefault(record["parent_id"] or "", []).append(record)
    # By their links, not their age: a child can be of the same millisecond as its parent.
    family = [top_id]
    for parent_id in family:
        for record in children.get(parent_id, []):
            family.append(record["id"])
            assert record["name"] not in by_path, "a child ran twice"
            by_path[record["name"]] = record
    told = {node["path"]: node for node in nodes(spec)}
    assert by_path.keys() <= told.keys()
    for name, record in by_path.items():
        node = told[name]
        assert record["status"].startswith("ENDED_"), record
        assert record["attempts"] <= 1
        assert record["created_at"] <= (record["started_at"] or record["ended_at"]) <= record["ended_at"], record
        assert (record["client_name"], record["user_name"], record["flow_name"]) == ("acme", "kevin", "node")
        assert record["message"], record
        if name != spec["path"]:
            parent = by_path[name.rpartition(".")[0]]
            assert record["parent_id"] == parent["id"]
            assert parent["created_at"] <= record["created_at"]
        if record["status"] == "ENDED_SUCCESS":
            assert_success_fits(record, node, by_path)


def assert_success_fits(record: Any, node: dict[str, Any], by_path: dict[str, Any]) -> None:
    """Who succeeded has waited for what it was told to wait for."""
    mode = node["mode"]
    assert mode not in HOPELESS, record
    if record["message"] == "left":
        assert mode == "leave"
        return
    assert record["message"] in (mode, "saw it")
    children = [by_path[child["path"]] for child in node["children"]]
    assert len(children) == len(node["children"])
    before = [child for child in children if child["ended_at"] <= record["ended_at"]]
    if record["message"] == "saw it":
        assert mode == "careful"
        assert any(child["status"] != "ENDED_SUCCESS" for child in before)
    elif node["when"] == "ALL_SUCCEEDED":
        assert all(child["status"] == "ENDED_SUCCESS" for child in children)
        assert before == children
    elif node["when"] == "ALL_ENDED":
        assert before == children
    elif children:
        assert any(child["status"] == "ENDED_SUCCESS" for child in before)


def test_a_parent_that_is_cancelled_takes_along_what_it_waits_for(project: Project) -> None:
    project.flow("acme", "kid", "def handler(system, this):\n    this.sleep(60)\n")
    source = """
def handler(system, this, inputs):
    waited = this.flow('kid', run=False).run_async()
    this.flow('kid', name='goes on', wait=False)
    this.wait_for(waited)
"""
    path = project.endpoint("parent", source)
    with running(project) as daemon:
        parent_id = daemon.post(path + "?async", {}).json["id"]
        # A parent that is cancelled before it waits takes nobody along. What holds no slot and does not wait for one is
        # parked, the parent for the end of its child.
        wait_for(lambda: parked(daemon) == 3, "both children to sleep and their parent to wait")
        daemon.request("DELETE", f"/api/execution/acme/{parent_id}")

        def statuses() -> Any:
            rows = daemon.ask("executions.list")
            return sorted(row["status"] for row in rows)

        wait_for(lambda: statuses() == ["ENDED_CANCELLED", "ENDED_CANCELLED", "RUNNING"], "the waited one to end")
        assert "goes on" in json.dumps(
            [
                daemon.ask("executions.show", id=row["id"])["name"]
                for row in daemon.ask("executions.list", status="RUNNING")
            ]
        )
        for row in daemon.ask("executions.list", status="RUNNING"):
            daemon.ask("executions.cancel", id=row["id"])


def test_one_place_and_a_depth_of_twenty(project: Project) -> None:
    project.options(workers=1)
    source = """
def handler(system, this, inputs):
    n = inputs.get('n', 20)
    below = this.flow('deep', n=n - 1).get('output_value')['depth'] if n else -1
    this.set_output('depth', below + 1)
"""
    path = project.endpoint("deep", source)
    with running(project) as daemon:
        assert daemon.post(path, {}).json["output_value"] == {"depth": 20}


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"max_depth": 5}, "max_depth"), ({"max_children": 7}, "max_children"), ({"max_calls": 1}, "max_calls")],
)
def test_a_limit_ends_who_went_past_it_and_is_named(project: Project, limits: dict[str, Any], name: str) -> None:
    source = """
def handler(system, this, inputs):
    for _ in range(3):
        this.flow('endless')
"""
    path = project.endpoint("endless", source, **limits)
    with running(project) as daemon:
        answer = daemon.post(path, {})
        assert answer.status == 500
        messages = [
            row["message"]
            for row in daemon.ask("executions.list", limit=10_000)
            if row["message"].startswith(f"{name}:")
        ]
        assert messages
        assert str(limits[name]) in messages[0]


def test_when_every_process_is_in_use_the_newest_child_fails_at_once(project: Project) -> None:
    project.options(workers=1, max_workers=4, spare_workers=0)
    source = """
def handler(system, this, inputs):
    n = inputs.get('n', 10)
    if n:
        this.flow('deep', n=n - 1)
"""
    path = project.endpoint("deep", source)
    with running(project) as daemon:
        answer = daemon.post(path, {})
        assert answer.status == 500
        assert "max_workers" in answer.json["message"]
        assert daemon.ask("status")["executions"]["live"] == 0
