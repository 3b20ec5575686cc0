"""Random trees of children with random failures: all of them end, and every record fits its family."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.running import Project, running, simple_project, wait_for

NODE = """
import flow_api

def handler(system, this, inputs):
    spec = inputs.get('json', inputs)
    children = []
    for child in spec['children']:
        children.append(this.flow('node', **child, run=False))
    for child in children:
        child.run_async()
    mode = spec['mode']
    if mode == 'sleep':
        this.sleep(0.01)
    if mode == 'loop':
        while True:
            pass
    if mode == 'leave':
        return this.success('left')
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
MODES = ["ok"] * 6 + ["sleep"] * 3 + ["fail", "crash", "careful", "careful", "leave", "cancel", "loop"]
WHENS = ["ALL_SUCCEEDED", "ALL_ENDED", "FIRST_ENDED"]


def tree(choose: random.Random, depth: int) -> dict[str, Any]:
    count = choose.choice([0, 1, 2, 3]) if depth else 0
    return {
        "mode": choose.choice(MODES),
        "when": choose.choice(WHENS),
        "children": [tree(choose, depth - 1) for _ in range(count)],
    }


def size(spec: dict[str, Any]) -> int:
    return 1 + sum(map(size, spec["children"]))


@pytest.mark.parametrize("seed", range(4))
def test_all_end_and_every_record_fits(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    project: Project = simple_project(tmp_path_factory.mktemp("trees"))
    project.options(workers=2)
    path = project.endpoint("node", NODE, timeout_s=1.5)
    choose = random.Random(seed)
    with running(project) as daemon:
        for _ in range(6):
            spec = tree(choose, 3)
            answer = daemon.post(path, spec)
            assert answer.status in (200, 500, 504), answer.body

        def is_idle() -> bool:
            executions = daemon.ask("status")["executions"]
            return (executions["live"], executions["running"], executions["waiting"]) == (0, 0, 0)

        wait_for(is_idle, "all to end", 30)
        rows = daemon.ask("executions.list", limit=10_000)
        by_id = {row["id"]: row for row in rows}
        assert rows
        for row in rows:
            assert row["status"].startswith("ENDED_"), row
            assert row["created_at"] <= (row["started_at"] or row["ended_at"]) <= row["ended_at"]
            if row["parent_id"]:
                parent = by_id[row["parent_id"]]
                assert parent["created_at"] <= row["created_at"]
            else:
                assert row["webhook_name"] == "node"
        workers = daemon.ask("status")["workers"]
        assert workers["busy"] == 0


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
        wait_for(lambda: len(daemon.ask("executions.list", status="RUNNING")) == 3, "both children")
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
def test_a_limit_ends_who_went_past_it_and_is_named(project: Project, limits: dict[str, int], name: str) -> None:
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
