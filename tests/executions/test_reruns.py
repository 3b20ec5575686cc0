"""What runs again after a restart, what ends instead and what its record says; and replays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.executions.queue_nodes import SharedQueue
from tests.executions.runner_fakes import RunnerScene, interrupted, run_scene
from whd.auth.callers import OPEN
from whd.errors import NotFound
from whd.executions.queue import LocalQueue
from whd.executions.reruns import CLAIM_COUNT, MAX_ATTEMPTS, limits_now
from whd.model.execution import Cause, Status
from whd.model.options import Options
from whd.model.snapshot import Client, Snapshot, User, Webhook
from whd.settings.webhooks import limits_of
from whd.store.interface import Stored


def queue_of(*found: Stored) -> LocalQueue:
    async def read() -> list[Stored]:
        return list(found)

    return LocalQueue(read)


def test_async_executions_run_again_in_the_order_of_their_age_before_new_calls_and_count_their_attempts() -> None:
    async def scene() -> None:
        found = [interrupted(number) for number in range(CLAIM_COUNT + 2)]
        here = RunnerScene(queue_of(*reversed(found)))
        assert await here.reruns.resume() == len(found)
        assert [job.execution_id for job in here.pool.submitted] == [stored.execution.id for stored in found]
        assert all(job.is_first for job in here.pool.submitted)
        first = found[0].execution
        assert (first.status, first.started_ms, first.attempts, first.log) == (Status.PENDING, 0, 1, [])
        here.pool.start(here.pool.submitted[0])
        assert (first.status, first.attempts) == (Status.RUNNING, 2)
        here.pool.end(here.pool.submitted[0])
        assert here.store.ends() == [(first.id, Status.ENDED_SUCCESS)]
        here.runner.close()

    run_scene(scene())


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        (
            {"is_masked": True, "parent_id": "p"},
            Status.ENDED_CANCELLED,
            "interrupted; its protected inputs are not kept",
        ),
        ({"is_masked": True}, Status.ENDED_ERROR, "interrupted; its protected inputs are not kept"),
        ({"is_async": False}, Status.ENDED_ERROR, "interrupted by a restart"),
        ({"parent_id": "p"}, Status.ENDED_CANCELLED, "its parent was interrupted by a restart"),
        ({"parent_id": "p", "is_async": False}, Status.ENDED_CANCELLED, "its parent was interrupted by a restart"),
        (
            {"attempts": MAX_ATTEMPTS},
            Status.ENDED_ERROR,
            f"interrupted by a restart in each of {MAX_ATTEMPTS} attempts",
        ),
        (
            {"flow_name": "gone"},
            Status.ENDED_ERROR,
            "it could not run again after a restart: acme: flow 'gone' does not exist",
        ),
    ],
)
def test_what_may_not_run_again_ends_as_its_record_says(changes: dict[str, Any], status: Status, message: str) -> None:
    async def scene() -> None:
        stored = interrupted(**changes)
        queue = queue_of(stored)
        here = RunnerScene(queue)
        assert await here.reruns.resume() == 0
        assert here.pool.submitted == []
        assert here.runner.active_count == 0
        (saved,) = here.store.saved
        assert (saved.id, saved.status, saved.message) == (stored.execution.id, status, message)
        assert saved.cause is Cause.INTERRUPTED
        assert saved.ended_ms > 0
        assert not queue.finish(stored.execution.id, 1)  # it is done with

    run_scene(scene())


def test_what_another_node_took_over_meanwhile_is_not_ended_here() -> None:
    async def scene() -> None:
        shared = SharedQueue()
        one, other = shared.node(), shared.node()
        here = RunnerScene(one)
        await one.offer(interrupted(is_async=False))
        (claim,) = await one.claim(1)
        shared.now_s += 1_000
        assert len(await other.claim(1)) == 1
        assert not here.reruns.adopt(claim)
        assert here.store.saved == []
        assert here.runner.fenced_total == 1

    run_scene(scene())


def test_a_replay_is_a_new_async_execution_of_the_same_input() -> None:
    async def scene() -> None:
        here = RunnerScene()
        old = interrupted(status=Status.ENDED_ERROR, input_json=b"[7]", key_webhook_name="hook").execution
        here.store.saved.append(old)
        replay = asyncio.ensure_future(here.reruns.replay(old.id))
        while not here.store.accepting:
            await asyncio.sleep(0)
        here.store.accepting[0](None)
        active = await replay
        (job,) = here.pool.submitted
        new = active.execution
        assert job.execution_id == new.id
        assert (new.input_json, new.replay_of, new.key_webhook_name, new.is_async) == (b"[7]", old.id, "hook", True)
        with pytest.raises(NotFound):
            await here.reruns.replay("none")
        here.runner.close()

    run_scene(scene())


def test_an_execution_without_a_request_has_the_limits_of_its_webhook_as_it_stands_now() -> None:
    scene_options = Options(isolation="user", timeout_s=7)
    limits = replace(limits_of(scene_options), timeout_s=2)
    hook = Webhook("acme", "hook", "fine", "kevin", OPEN, True, ("POST",), True, "execution", limits, "hook.yaml")
    snapshot = Snapshot(scene_options, {"acme": Client("acme", {}, {}, {}, {"hook": hook})}, ())
    execution = interrupted(webhook_name="hook").execution
    assert limits_now(snapshot, execution, User("kevin")) == (limits, "execution")
    gone = replace(execution, webhook_name="gone")
    assert limits_now(snapshot, gone, User("kevin")) == (scene_options, "user")
    assert limits_now(snapshot, gone, User("kevin", isolation="execution")) == (scene_options, "execution")
