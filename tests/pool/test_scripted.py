"""What becomes of prefetched jobs: real pool, real sockets, and processes that do what the test says, when it says."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest

from tests.pool.scripted import Scene, scripted_pool
from whd.model.execution import Cause, Status
from whd.pool.job import End, Job, JobState
from whd.pool.pool import Pool
from whd.pool.prefetch import ANSWER_PATIENCE_S, MAX_PREFETCHED, REVOKE_AFTER_S
from whd.pool.worker import Worker


def state(job: Job) -> JobState:
    """Anew each time."""
    return job.state


CANCELLED = End(Status.ENDED_CANCELLED, "for a test", Cause.NONE)


def in_scene(*, slots: int = 1) -> Callable[[Callable[[Scene], Awaitable[None]]], Callable[[pytest.MonkeyPatch], None]]:
    """A test that is a coroutine of a scene."""

    def decorate(test: Callable[[Scene], Awaitable[None]]) -> Callable[[pytest.MonkeyPatch], None]:
        async def run(monkeypatch: pytest.MonkeyPatch) -> None:
            async with scripted_pool(monkeypatch, slots=slots) as scene:
                await test(scene)

        def runs(monkeypatch: pytest.MonkeyPatch) -> None:
            asyncio.run(run(monkeypatch))

        functools.update_wrapper(runs, test, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        del runs.__wrapped__  # type: ignore[attr-defined]  # pytest would ask it for its fixtures
        return runs

    return decorate


def idle(pool: Pool) -> bool:
    """Whether nothing runs, waits, or is owed."""
    scheduler = pool.scheduler
    return (scheduler.running, scheduler.waiting, len(pool._started)) == (0, 0, 0) and pool.prefetch.is_answered


@in_scene()
async def test_what_came_together_is_sent_together(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    assert process.received() == ["run 1", "run 2 behind", "run 3 behind"]
    # Only one of them holds the slot, and has started for all that anybody knows.
    assert scene.heard == ["start 1"]
    assert (scene.pool.scheduler.running, scene.pool.scheduler.waiting) == (1, 0)
    for job in jobs:
        process.end(job)
    await scene.turn()
    ends = [f"end {name} ENDED_SUCCESS" for name in (1, 2, 3)]
    # The process goes on before its caller hears of the end.
    assert scene.heard == ["start 1", "start 2", ends[0], "start 3", ends[1], ends[2]]
    assert idle(scene.pool)
    assert scene.pool.prefetch.prefetched_total == 2


@in_scene()
async def test_what_comes_later_follows_what_is_there(scene: Scene) -> None:
    first = scene.submit()
    await scene.turn()
    scene.submit()
    await scene.turn()
    scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert process.received() == ["run 1", "run 2 behind", "run 3 behind"]
    process.end(first)
    await scene.turn()
    assert "start 2" in scene.heard


@in_scene()
async def test_no_more_is_prefetched_than_is_soon_done(scene: Scene) -> None:
    scene.pool.prefetch.spread_us = scene.pool.prefetch.most_us = 1_000_000
    for _ in range(MAX_PREFETCHED + 5):
        scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert len(process.received()) == 1 + MAX_PREFETCHED
    assert scene.pool.scheduler.waiting == 4


@in_scene()
async def test_a_call_gives_up_what_waits_behind_it(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    process.call(jobs[0])
    await scene.turn()
    assert process.received() == ["run 1", "run 2 behind", "run 3 behind", "revoke"]
    # The others run elsewhere, in their order, while the first one is parked.
    other = scene.processes[1]
    assert other.received() == ["run 2"]
    assert scene.heard == ["start 1", "call 1", "start 2"]
    assert jobs[0].state is JobState.PARKED
    other.end(jobs[1])
    await scene.turn()
    assert other.received() == ["run 3"]  # its flow asked for something, so it counts as short no longer
    scene.pool.answer(jobs[0], 1)
    other.end(jobs[2])
    await scene.turn()
    assert process.received() == ["answer"]
    process.end(jobs[0])
    await scene.turn()
    # It is used again once it has answered.
    assert not scene.pool.prefetch.is_answered
    process.revoked()
    await scene.turn()
    assert idle(scene.pool)
    assert scene.pool.processes.counts()["idle"] == 2


@in_scene()
async def test_a_job_that_runs_too_long_gives_up_what_waits_behind_it(scene: Scene) -> None:
    scene.submit()
    waiting = scene.submit()
    await scene.turn()
    (process,) = scene.processes
    scene.pool.prefetch.revoke_late(scene.pool._started, scene.jobs[0].started + REVOKE_AFTER_S / 2)
    assert state(waiting) is JobState.PREFETCHED
    scene.pool.prefetch.revoke_late(scene.pool._started, scene.jobs[0].started + REVOKE_AFTER_S * 2)
    assert state(waiting) is JobState.QUEUED
    await scene.turn()
    assert process.received() == ["run 1", "run 2 behind", "revoke"]
    scene.submit()
    await scene.turn()
    assert process.received() == []  # nothing is prefetched behind it again


@in_scene()
async def test_a_job_that_the_process_dropped_is_postponed(scene: Scene) -> None:
    """The first one's end and the revocation cross: the second counts as running until the process has answered."""
    first, second = scene.submit(), scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    process.end(first)
    scene.pool.prefetch.revoke(first.line)
    assert scene.heard == ["start 1", "start 2", "end 1 ENDED_SUCCESS"]
    process.revoked()
    await scene.turn()
    assert scene.heard[3:] == ["postponed 2", "start 2"]
    assert process.received() == ["run 1", "run 2 behind", "revoke", "run 2"]
    process.end(second)
    await scene.turn()
    assert idle(scene.pool)


@in_scene()
async def test_a_job_that_the_process_had_begun_goes_on(scene: Scene) -> None:
    """The same, but the process looked for a revocation too early: it runs the second, and answers afterwards."""
    first, second = scene.submit(), scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    process.end(first)
    scene.pool.prefetch.revoke(first.line)
    process.log(second)
    process.end(second)
    await scene.turn()
    assert scene.heard[1:] == ["start 2", "end 1 ENDED_SUCCESS", "log 2", "end 2 ENDED_SUCCESS"]
    assert not scene.pool.prefetch.is_answered
    process.revoked()
    await scene.turn()
    assert idle(scene.pool)
    assert scene.pool.processes.counts()["idle"] == 1


@in_scene()
async def test_a_process_cannot_drop_what_it_has_begun(scene: Scene) -> None:
    first, second = scene.submit(), scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    process.end(first)
    scene.pool.prefetch.revoke(first.line)
    process.log(second)
    process.revoked()
    await scene.turn()
    assert scene.heard[-1] == "end 2 ENDED_ERROR the worker broke its protocol: it takes back what it has begun"
    assert process.is_killed
    assert idle(scene.pool)


@in_scene()
async def test_a_process_that_answers_too_often_is_ended(scene: Scene) -> None:
    first = scene.submit()
    scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    scene.pool.prefetch.revoke(first.line)
    process.revoked()
    process.revoked()
    await scene.turn()
    assert "end 1 ENDED_ERROR the worker broke its protocol: it answers a revocation" in scene.heard[1]
    assert process.is_killed
    assert scene.heard[2:] == ["start 2"]


@in_scene()
async def test_a_process_that_never_answers_is_ended(scene: Scene) -> None:
    first = scene.submit()
    scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    scene.pool.prefetch.revoke(first.line)
    process.end(first)
    await scene.turn()
    assert scene.heard[1:] == ["end 1 ENDED_SUCCESS", "start 2"]  # in another one
    scene.pool.prefetch.end_silent(scene.loop.time() + ANSWER_PATIENCE_S / 2)
    assert process in scene.processes
    scene.pool.prefetch.end_silent(scene.loop.time() + ANSWER_PATIENCE_S * 2)
    assert process not in scene.processes
    assert scene.pool.prefetch.is_answered


@in_scene()
async def test_of_jobs_behind_another_only_the_cancelled_one_ends(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(4)]
    await scene.turn()
    (process,) = scene.processes
    scene.pool.cancel(jobs[2], CANCELLED)
    assert [job.state for job in jobs] == [JobState.RUNNING, JobState.QUEUED, JobState.ENDED, JobState.QUEUED]
    assert process.received()[-1] == "revoke"
    assert not process.is_killed
    process.end(jobs[0])
    process.revoked()
    await scene.turn()
    assert process.received() == ["run 2"]
    # What was revoked goes before new calls, and nothing waits behind another while something does.
    process.end(jobs[1])
    await scene.turn()
    assert process.received() == ["run 4"]


@in_scene()
async def test_the_job_that_runs_is_cancelled_with_its_process_and_the_others_wait_again(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    scene.pool.cancel(jobs[0], CANCELLED)
    await scene.turn()
    assert process.is_killed
    (other,) = scene.processes
    assert other.received() == ["run 2"]
    assert scene.heard == ["start 1", "end 1 ENDED_CANCELLED for a test", "start 2"]
    process.die()
    await scene.turn()
    assert scene.heard[3:] == []
    assert scene.pool.processes.counts()["total"] == 1


@in_scene()
async def test_a_process_is_lost_with_jobs_prefetched(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    process.end(jobs[0])  # what it sent before its death counts
    process.die()
    await scene.turn()
    assert scene.heard[1:3] == ["start 2", "end 1 ENDED_SUCCESS"]
    assert scene.heard[3].startswith("end 2 ENDED_ERROR the flow's process was ended by signal 9")
    # Of the third nobody thought that it ran: it does, in the next one.
    assert scene.heard[4:] == ["start 3"]
    assert scene.all_processes[2].received() == ["run 3"]


@in_scene()
async def test_a_process_that_ends_itself_leaves_what_waits_in_it_to_others(scene: Scene) -> None:
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    process.end(jobs[0], fresh=True)
    await scene.turn()
    assert process.is_killed
    (other,) = scene.processes
    assert other.received() == ["run 2"]


@in_scene()
async def test_a_process_of_one_execution_gets_no_other(scene: Scene) -> None:
    first = scene.submit()
    first.isolation = "execution"
    scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert process.received() == ["run 1"]
    process.end(first)
    await scene.turn()
    assert process.is_killed


@in_scene()
async def test_jobs_of_others_are_not_prefetched_behind_one(scene: Scene) -> None:
    scene.submit()
    other = scene.submit()
    other.user_name = "eve"
    await scene.turn()
    assert scene.processes[0].received() == ["run 1"]
    assert other.state is JobState.QUEUED


@in_scene()
async def test_a_revocation_that_does_not_fit_into_the_socket_withdraws_nothing(scene: Scene) -> None:
    """It never comes to that (Line.room_bytes); if it did, none would run twice, and each would have its end."""
    jobs = [scene.submit() for _ in range(3)]
    await scene.turn()
    (process,) = scene.processes
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Worker, "has_unsent", True)
        scene.pool.cancel(jobs[1], CANCELLED)
    assert process.is_killed
    process.end(jobs[0])  # what it sent before its death counts
    process.die()
    await scene.turn()
    assert [entry.partition(" the flow")[0] for entry in scene.heard] == [
        "start 1", "end 2 ENDED_CANCELLED for a test", "start 3", "end 1 ENDED_SUCCESS", "end 3 ENDED_ERROR",
    ]  # fmt: skip
    assert idle(scene.pool)


@in_scene()
async def test_a_postponed_job_is_measured_by_the_clock_of_the_process_that_runs_it(scene: Scene) -> None:
    first, second = scene.submit(), scene.submit()
    await scene.turn()
    (process,) = scene.processes
    assert first.line is not None
    process.end(first)
    scene.pool.prefetch.revoke(first.line)
    now = scene.loop.time()
    assert second.cpu_used_s(100.0, now) == 0.0
    assert second.cpu_used_s(101.0, now) >= 1.0
    process.revoked()
    await scene.turn()
    assert second.cpu_used_s(500.0, now) == 0.0


@in_scene()
async def test_a_call_that_something_follows_is_not_answered(scene: Scene) -> None:
    """It ends the execution when what waits behind it is revoked: nobody hears of the call after that."""
    first = scene.submit()
    scene.submit()
    await scene.turn()
    (process,) = scene.processes
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Just behind the call: it was not there yet when the call was read.
        monkeypatch.setattr(Worker, "read_last", lambda worker: scene.pool._on_frame(worker, b"{}"))
        process.call(first)
        await scene.turn()
    assert process.is_killed
    assert scene.heard[1].startswith("end 1 ENDED_ERROR the worker broke its protocol: job is not a whole number")
    assert scene.heard[2:] == ["start 2"]
