"""The life of executions, with a pool and a store that do nothing by themselves."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tests.executions.queue_nodes import LEASE_S, SharedQueue
from tests.executions.runner_fakes import RunnerScene, interrupted, run_scene
from whd.errors import Draining
from whd.executions.active import ActiveExecution
from whd.executions.family import Child
from whd.executions.protection import Protection
from whd.model.execution import Status
from whd.pool.job import JobState

# ---- calls that are accepted here: NoQueue fails whatever asks it --------------------------------------------------


def test_a_sync_call_is_saved_when_it_ended_and_never_comes_to_the_queue() -> None:
    async def scene() -> None:
        here = RunnerScene()
        active = here.prepare()
        ended: list[ActiveExecution] = []
        here.runner.start(active, ended.append)
        (job,) = here.pool.submitted
        assert not job.is_first
        here.pool.start(job)
        assert (here.store.saved, ended) == ([], [])
        here.pool.end(job)
        assert ended == [active]
        assert here.store.ends() == [(active.execution.id, Status.ENDED_SUCCESS)]
        assert (here.runner.active_count, here.budget.used_bytes) == (0, 0)
        here.runner.close()

    run_scene(scene())


def test_an_async_call_runs_once_it_is_on_disk_and_never_comes_to_the_queue() -> None:
    async def scene() -> None:
        here = RunnerScene()
        active = here.prepare()
        answers: list[Exception | None] = []
        here.runner.start_async(active, answers.append)
        assert here.runner.accepting_of("acme") == 1
        assert (here.pool.submitted, answers) == ([], [])
        here.store.accepting[0](None)
        assert answers == [None]
        assert here.runner.accepting_of("acme") == 0
        here.pool.start(here.pool.submitted[0])
        here.pool.end(here.pool.submitted[0])
        assert here.store.ends() == [(active.execution.id, Status.ENDED_SUCCESS)]
        here.runner.close()

    run_scene(scene())


@pytest.mark.parametrize(("size", "waits"), [(1_000, False), (100_000, True)])
def test_the_end_of_a_large_execution_is_heard_when_the_store_has_room(size: int, waits: bool) -> None:
    async def scene() -> None:
        here = RunnerScene()
        here.store.is_behind = True
        active = here.prepare(b"1" * size)
        ended: list[ActiveExecution] = []
        here.runner.start(active, ended.append)
        here.runner.cancel(active, "enough")
        assert here.store.ends() == [(active.execution.id, Status.ENDED_CANCELLED)]
        assert ended == ([] if waits else [active])
        for has_room in here.store.wants_room:
            has_room()
        assert ended == [active]
        assert here.runner.active_count == 0
        here.runner.close()

    run_scene(scene())


def test_an_accept_that_is_written_while_the_drain_begins_is_left_for_the_next_start() -> None:
    async def scene() -> None:
        here = RunnerScene()
        answers: list[Exception | None] = []
        active = here.prepare()
        here.runner.start_async(active, answers.append)
        here.runner.begin_drain()
        assert here.runner.list_active() == [active]
        here.store.accepting[0](None)
        # The caller has its 202, and nothing is left to wait for.
        assert answers == [None]
        assert here.pool.submitted == []
        await here.runner.wait_idle()
        here.runner.close()

    run_scene(scene())


def test_what_waits_for_a_slot_when_the_drain_begins_leaves_the_pool_and_can_be_cancelled_no_more() -> None:
    async def scene() -> None:
        here = RunnerScene()
        waiting, runs = here.prepare(), here.prepare()
        for active in (waiting, runs):
            here.runner.start_async(active, lambda _error: None)
        for accepted in here.store.accepting:
            accepted(None)
        here.pool.start(here.pool.submitted[1])
        here.runner.begin_drain()
        assert here.runner.list_active() == [runs]
        assert (here.pool.scheduler.waiting, here.pool.submitted[0].state) == (0, JobState.ENDED)
        assert list(here.runner._jobs) == [runs.job]
        here.runner.end_by_limit(waiting, "too late")
        assert here.store.ends() == []
        here.pool.end(here.pool.submitted[1])
        await here.runner.wait_idle()
        here.runner.close()

    run_scene(scene())


def test_nothing_starts_while_it_drains() -> None:
    async def scene() -> None:
        here = RunnerScene()
        here.runner.begin_drain()
        with pytest.raises(Draining):
            here.runner.start(here.prepare(), lambda _active: None)
        assert here.runner.active_count == 0
        here.runner.close()

    run_scene(scene())


def test_the_end_of_the_drain_sends_sync_callers_away_before_all_others_hear_how_it_stands() -> None:
    async def scene() -> None:
        here = RunnerScene()
        heard: list[str] = []
        active = here.prepare()
        here.runner.start(active, lambda _active: heard.append("waiter"), lambda _active: heard.append("sent away"))
        here.runner.release_waiters()
        assert heard == ["sent away", "waiter"]
        here.runner.close()

    run_scene(scene())


def test_what_a_parent_waits_for_ends_with_it_and_what_it_does_not_wait_for_goes_on() -> None:
    async def scene() -> None:
        here = RunnerScene()
        parent = here.prepare()
        here.runner.start(parent, lambda _active: None)
        here.pool.start(here.pool.submitted[0])
        awaited = here.start_child(parent, lambda _child: None)
        other = here.start_child(parent, lambda _child: None)
        assert (awaited.depth, parent.tree.children, awaited.execution.root_id) == (1, 2, parent.execution.id)
        parent.family.awaited = frozenset({awaited.execution.id})
        here.pool.end(here.pool.submitted[0])
        assert awaited.execution.status is Status.ENDED_CANCELLED
        assert here.runner.list_active() == [other]
        here.runner.close()

    run_scene(scene())


@pytest.mark.parametrize("room", [True, False])
def test_the_output_of_a_protected_child_is_kept_for_its_parent_as_long_as_that_runs(room: bool) -> None:
    async def scene() -> None:
        here = RunnerScene()
        parent, plain = here.prepare(), here.prepare()
        protection = Protection(b'{"token":"abcdef"}', values=frozenset({"abcdef"}))
        child = here.runner.prepare_child(plain.execution, plain.flow, parent, protection, "")
        here.runner.start(parent, lambda _active: None)
        here.pool.start(here.pool.submitted[0])
        known = Child(child.execution.id, "kid")
        here.runner.start_child(child, parent, lambda ended: here.runner.keep_output(parent, known, ended))
        here.runner.run_child(child)
        job = here.pool.submitted[1]
        assert job.input_json == b'{"token":"abcdef"}'
        assert child.execution.input_json == b"{}"
        here.pool.start(job)
        used = here.budget.used_bytes
        if not room:
            here.budget.take(here.budget.free_bytes - 3)
        here.pool.end(job, output_json=b'["abcdef"]')
        assert child.execution.output_json == b'["***"]'
        assert (known.output_json, known.is_output_lost) == (b'["abcdef"]' if room else None, not room)
        if room:
            assert here.budget.used_bytes == used + len(b'["abcdef"]')
            here.pool.end(here.pool.submitted[0])
            assert here.budget.used_bytes == 0
        here.runner.close()

    run_scene(scene())


def test_a_task_is_cancelled_by_what_it_gave_and_its_late_end_is_harmless() -> None:
    async def scene() -> None:
        here = RunnerScene()
        parent, task = here.prepare(), here.prepare()
        here.runner.start(parent, lambda _active: None)
        here.runner.start_child(task, parent, lambda _active: None)
        cancelled: list[str] = []
        here.runner.run_task(task, lambda: lambda: cancelled.append("it"))
        assert task.execution.status is Status.RUNNING
        here.runner.cancel(task, "enough")
        assert cancelled == ["it"]
        here.runner.end_task(task, Status.ENDED_SUCCESS, "", b"1")
        assert (task.execution.status, task.execution.message) == (Status.ENDED_CANCELLED, "enough")
        here.runner.close()

    run_scene(scene())


# ---- claims ----------------------------------------------------------------------------------------------------------


class TwoNodes:
    """Two nodes of one queue, each with a runner; the first one has claimed and started an execution."""

    def __init__(self) -> None:
        self.shared = SharedQueue()
        self.queues = self.shared.node(), self.shared.node()
        self.one, self.other = map(RunnerScene, self.queues)
        self.heard: list[Status] = []

    async def start(self) -> ActiveExecution:
        await self.queues[0].offer(interrupted())
        assert await self.one.reruns.resume() == 1
        (active,) = self.one.runner.list_active()
        active.add_waiter(lambda active: self.heard.append(active.execution.status))
        self.one.pool.start(self.one.pool.submitted[0])
        return active

    async def take_over(self) -> None:
        """The first node's lease runs out and the second one claims what it had; each has a record of its own."""
        self.shared.now_s += 2 * LEASE_S
        for entry in self.shared.entries.values():
            entry.stored = replace(entry.stored, execution=replace(entry.stored.execution))
        assert await self.other.reruns.resume() == 1

    def close(self) -> None:
        self.one.runner.close()
        self.other.runner.close()


def test_the_end_of_a_claimed_execution_is_saved_and_finishes_the_claim() -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        active = await nodes.start()
        nodes.one.pool.end(nodes.one.pool.submitted[0])
        assert nodes.one.store.ends() == [(active.execution.id, Status.ENDED_SUCCESS)]
        assert nodes.heard == [Status.ENDED_SUCCESS]
        assert nodes.shared.entries == {}
        nodes.close()

    run_scene(scene())


def test_the_end_of_an_attempt_that_was_overtaken_is_dropped_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        active = await nodes.start()
        await nodes.take_over()
        with caplog.at_level(logging.WARNING, "whd.executions"):
            nodes.one.pool.end(nodes.one.pool.submitted[0])
        assert nodes.one.store.ends() == []
        assert (nodes.one.runner.fenced_total, nodes.one.runner.active_count) == (1, 0)
        assert active.execution.id in caplog.text
        assert nodes.heard == [Status.RUNNING]
        nodes.other.pool.start(nodes.other.pool.submitted[0])
        nodes.other.pool.end(nodes.other.pool.submitted[0])
        assert [status for _id, status in nodes.other.store.ends()] == [Status.ENDED_SUCCESS]
        nodes.close()

    run_scene(scene())


def test_what_a_node_lost_is_disowned_it_ends_at_once_and_its_end_is_not_saved() -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        await nodes.start()
        await nodes.take_over()
        (job,) = nodes.one.pool.submitted
        job.calls = 1
        nodes.one.runner.disown(await nodes.queues[0].renew())
        assert nodes.one.calls.forgotten == [job]
        assert nodes.one.store.ends() == []
        assert (nodes.one.runner.fenced_total, nodes.one.runner.active_count) == (1, 0)
        assert nodes.heard == [Status.RUNNING]
        nodes.close()

    run_scene(scene())


def test_an_async_execution_that_was_accepted_here_can_be_disowned_too() -> None:
    async def scene() -> None:
        here = RunnerScene()
        accepting, waiting = here.prepare(), here.prepare()
        answers: list[Exception | None] = []
        for active in (waiting, accepting):
            here.runner.start_async(active, answers.append)
        here.store.accepting[0](None)
        assert [job.execution_id for job in here.pool.submitted] == [waiting.execution.id]
        here.runner.disown([waiting.execution.id, accepting.execution.id, "unknown"])
        here.store.accepting[1](None)
        assert len(here.pool.submitted) == 1
        assert here.runner.active_count == 0
        assert here.store.saved == []
        assert answers == [None, None]
        here.runner.close()

    run_scene(scene())


def test_a_sync_execution_is_not_disowned_since_its_caller_waits_for_nobody_else() -> None:
    async def scene() -> None:
        here = RunnerScene()
        active = here.prepare()
        here.runner.start(active, lambda _active: None)
        here.runner.disown([active.execution.id])
        here.pool.start(here.pool.submitted[0])
        here.pool.end(here.pool.submitted[0])
        assert here.store.ends() == [(active.execution.id, Status.ENDED_SUCCESS)]
        here.runner.close()

    run_scene(scene())


def test_what_a_disowned_execution_waits_for_ends_with_it() -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        parent = await nodes.start()
        child = nodes.one.start_child(parent, lambda _child: None)
        parent.family.awaited = frozenset({child.execution.id})
        nodes.one.runner.disown([parent.execution.id])
        assert child.execution.status is Status.ENDED_CANCELLED
        assert nodes.one.store.ends() == [(child.execution.id, Status.ENDED_CANCELLED)]
        nodes.close()

    run_scene(scene())


def test_a_claimed_execution_that_waits_when_the_drain_begins_is_given_back_and_one_that_runs_is_not() -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        await nodes.start()
        waiting = interrupted(1)
        await nodes.queues[0].offer(waiting)
        assert await nodes.one.reruns.resume() == 1
        nodes.one.runner.begin_drain()
        assert nodes.one.runner.active_count == 1
        (claim,) = await nodes.queues[1].claim(9)
        assert claim.stored.execution.id == waiting.execution.id
        nodes.close()

    run_scene(scene())


def test_a_cancelled_claim_is_finished_as_cancelled() -> None:
    async def scene() -> None:
        nodes = TwoNodes()
        active = await nodes.start()
        nodes.one.runner.cancel(active, "enough")
        assert nodes.one.store.ends() == [(active.execution.id, Status.ENDED_CANCELLED)]
        assert nodes.shared.entries == {}
        nodes.close()

    run_scene(scene())


def test_an_end_by_limit_names_it() -> None:
    async def scene() -> None:
        here = RunnerScene()
        active = here.prepare()
        here.runner.start(active, lambda _active: None)
        here.runner.end_by_limit(active, "max_depth")
        assert (active.execution.status, active.execution.message) == (Status.ENDED_ERROR, "max_depth")
        here.runner.close()

    run_scene(scene())


def test_an_end_keeps_what_the_flow_saved_unless_it_says_otherwise() -> None:
    async def scene() -> None:
        here = RunnerScene()
        active = here.prepare()
        here.runner.start(active, lambda _active: None)
        here.pool.start(here.pool.submitted[0])
        here.runner.save_running(active, "half-way", None, b"[1]")
        assert (active.execution.message, active.execution.name, active.execution.output_json) == (
            "half-way",
            "",
            b"[1]",
        )
        here.runner.save_running(active, None, "mine", None)
        here.pool.end(here.pool.submitted[0], message="done")
        (saved,) = here.store.saved
        assert (saved.message, saved.name, saved.output_json) == ("done", "mine", b"[1]")
        here.runner.close()

    run_scene(scene())
