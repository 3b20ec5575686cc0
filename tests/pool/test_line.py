"""What runs in one process: which job is where, and which of them a revocation is for. Every situation, every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from whd.model.options import Options
from whd.model.snapshot import Flow
from whd.pool.compiler import Code
from whd.pool.job import NOT_PREFETCHED, Job, JobState
from whd.pool.line import BUFFER_PART, MAX_PREFETCHED_BYTES, Line
from whd.pool.worker import Worker

FLOW = Flow("acme", "quick", "", "h", "")
CODE = Code(("acme", "h", "quick"), FLOW, frame=b"code")
OPTIONS = Options()


class FakeWorker:
    """A process of which a line needs no more than this."""

    def __init__(self, buffer_bytes: int = 1 << 20) -> None:
        self.buffer_bytes = buffer_bytes
        self.line: Line | None = None


def new_line(buffer_bytes: int = 1 << 20) -> Line:
    return Line(cast(Worker, FakeWorker(buffer_bytes)))


def new_job(state: JobState = JobState.QUEUED) -> Job:
    job = Job("acme", "kevin", FLOW, OPTIONS, "user", b"{}", "id", 0, "", cast(Any, None))
    job.move(JobState.QUEUED)
    if state is not JobState.QUEUED:
        job.move(state)
    return job


def run(line: Line) -> Job:
    """A job that the process of a line runs from now on."""
    job = new_job(JobState.STARTING)
    line.start(job, CODE)
    job.begin(0.0)
    return job


def prefetch(line: Line) -> Job:
    job = new_job()
    line.prefetch(job, CODE)
    return job


def end(line: Line) -> None:
    """The current job is over."""
    assert line.job is not None
    line.job.move(JobState.ENDED)
    line.drop(line.job)


def go_on(line: Line) -> Job:
    job = line.next()
    job.begin(0.0)
    return job


def revoke(line: Line) -> None:
    """A revocation is sent, and nothing had come before it."""
    line.begin_revocation()
    line.withdraw()
    line.end_revocation()


# ---- every situation, every event ------------------------------------------------------------------------------------


def empty(_line: Line) -> None:
    """The process has nothing to run."""


def running(line: Line) -> None:
    """One job, which runs."""
    run(line)


def parked(line: Line) -> None:
    """One job, which waits for the answer to a call."""
    run(line).move(JobState.PARKED)


def followed(line: Line) -> None:
    """One job runs, two are prefetched."""
    run(line)
    prefetch(line)
    prefetch(line)


def between(line: Line) -> None:
    """One has ended, the two behind it are still there."""
    followed(line)
    end(line)


def revoked(line: Line) -> None:
    """One job runs, and what was behind it waits in the queue again; the process has not answered yet."""
    followed(line)
    revoke(line)


def owing(line: Line) -> None:
    """The same, and the job has ended."""
    revoked(line)
    end(line)


def doubtful(line: Line) -> None:
    """The end of the job before came with the revocation: the process has begun the next one, or dropped it."""
    followed(line)
    line.begin_revocation()
    end(line)
    go_on(line)
    line.withdraw()
    line.end_revocation()


def renewed(line: Line) -> None:
    """The same, and what was prefetched then is not meant by the revocation."""
    doubtful(line)
    prefetch(line)


SITUATIONS = (empty, running, parked, followed, between, revoked, owing, doubtful, renewed)


def answer(line: Line) -> str:
    """The process answers a revocation: whose it was, and which jobs are queued again."""
    if not line.take_answer():
        return "not asked"
    withdrawn = line.withdraw_revoked()
    job = line.revoked_job
    return f"{len(withdrawn)} queued again, the current one {'has not begun' if job is not None else 'stays'}"


def start(line: Line) -> str:
    run(line)
    return "runs"


def send_along(line: Line) -> str:
    prefetch(line)
    return "waits there"


def end_current(line: Line) -> str:
    end(line)
    return "over"


def take_next(line: Line) -> str:
    go_on(line)
    return "runs"


def withdraw(line: Line) -> str:
    return f"{len(line.withdraw())} queued again"


DEFECT = "a defect"

# How it stands afterwards: current jobs, prefetched ones, answers that are owed.
EXPECTED: dict[tuple[Callable[[Line], None], Callable[[Line], str]], tuple[str, tuple[int, int, int]]] = {
    (empty, start): ("runs", (1, 0, 0)),
    (empty, withdraw): ("0 queued again", (0, 0, 0)),
    (empty, answer): ("not asked", (0, 0, -1)),
    (running, send_along): ("waits there", (1, 1, 0)),
    (running, end_current): ("over", (0, 0, 0)),
    (running, withdraw): ("0 queued again", (1, 0, 0)),
    (running, answer): ("not asked", (1, 0, -1)),
    (parked, send_along): ("waits there", (1, 1, 0)),  # nobody does: prefetch.py asks for a short one that runs
    (parked, end_current): ("over", (0, 0, 0)),
    (parked, withdraw): ("0 queued again", (1, 0, 0)),
    (parked, answer): ("not asked", (1, 0, -1)),
    (followed, send_along): ("waits there", (1, 3, 0)),
    (followed, end_current): ("over", (0, 2, 0)),
    (followed, withdraw): ("2 queued again", (1, 0, 0)),
    (followed, answer): ("not asked", (1, 2, -1)),
    (between, take_next): ("runs", (1, 1, 0)),
    (between, withdraw): ("2 queued again", (0, 0, 0)),
    (between, answer): ("not asked", (0, 2, -1)),
    (revoked, send_along): ("waits there", (1, 1, 1)),
    (revoked, end_current): ("over", (0, 0, 1)),
    (revoked, withdraw): ("0 queued again", (1, 0, 1)),
    (revoked, answer): ("0 queued again, the current one stays", (1, 0, 0)),
    (owing, start): ("runs", (1, 0, 1)),  # nobody does: it is given back once it has answered
    (owing, withdraw): ("0 queued again", (0, 0, 1)),
    (owing, answer): ("0 queued again, the current one stays", (0, 0, 0)),
    (doubtful, send_along): ("waits there", (1, 1, 1)),
    (doubtful, end_current): ("over", (0, 0, 1)),
    (doubtful, withdraw): ("0 queued again", (1, 0, 1)),
    (doubtful, answer): ("0 queued again, the current one has not begun", (1, 0, 0)),
    (renewed, send_along): ("waits there", (1, 2, 1)),
    (renewed, end_current): ("over", (0, 1, 1)),
    (renewed, withdraw): ("1 queued again", (1, 0, 1)),
    (renewed, answer): ("0 queued again, the current one has not begun", (1, 1, 0)),
}
EVENTS = (start, send_along, end_current, take_next, withdraw, answer)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("event", EVENTS, ids=lambda function: function.__name__)
def test_every_event_in_every_situation(situation: Callable[[Line], None], event: Callable[[Line], str]) -> None:
    """What the table does not have is a defect of the caller, and nothing has changed then."""
    line = new_line()
    situation(line)
    before = line.job, list(line.prefetched)
    expected = EXPECTED.get((situation, event))
    if expected is None:
        with pytest.raises((AssertionError, IndexError)):
            event(line)
        assert (line.job, list(line.prefetched)) == before
        return
    said = event(line)
    stands = int(line.job is not None), len(line.prefetched), line.revokes_sent - line.revokes_answered
    assert (said, stands) == expected
    assert line.is_empty == (stands[:2] == (0, 0))
    assert line.owes_answer == (stands[2] > 0)


# ---- the jobs --------------------------------------------------------------------------------------------------------


def test_prefetched_jobs_run_in_the_order_in_which_they_were_sent() -> None:
    line = new_line()
    jobs = [run(line), prefetch(line), prefetch(line)]
    assert [job.state for job in jobs] == [JobState.RUNNING, JobState.PREFETCHED, JobState.PREFETCHED]
    for job in jobs:
        assert line.job is job
        assert job.line is line
        assert job.code is CODE
        end(line)
        if line.prefetched:
            go_on(line)
    assert line.is_empty
    assert [job.line for job in jobs] == [None, None, None]


def test_withdrawn_jobs_come_last_one_first_so_that_each_can_be_queued_as_the_next() -> None:
    line = new_line()
    run(line)
    jobs = [prefetch(line) for _ in range(3)]
    assert line.withdraw() == jobs[::-1]
    assert all(job.state is JobState.QUEUED and job.line is None for job in jobs)


def test_a_job_cancelled_behind_another_leaves_the_others_as_they_are() -> None:
    line = new_line()
    current = run(line)
    first, second, third = [prefetch(line) for _ in range(3)]
    line.drop(second)
    assert (line.job, list(line.prefetched), second.line) == (current, [first, third], None)


def test_a_job_is_dropped_by_its_own_line_alone() -> None:
    line, other = new_line(), new_line()
    job = run(line)
    with pytest.raises(AssertionError):
        other.drop(job)
    assert job.line is line


def test_a_process_that_is_lost_leaves_what_was_prefetched_to_the_queue() -> None:
    line = new_line()
    current = run(line)
    behind = [prefetch(line) for _ in range(2)]
    line.drop(current)
    assert not line.is_empty  # its pool hears of its death
    assert line.withdraw() == behind[::-1]
    assert line.is_empty


def test_a_job_that_waited_there_once_is_not_taken_for_prefetched_when_it_is_started_later() -> None:
    line = new_line()
    run(line)
    job = prefetch(line)
    revoke(line)
    end(line)
    assert line.take_answer()
    job.move(JobState.STARTING)
    line.start(job, CODE)
    assert job.revokes_before == NOT_PREFETCHED
    assert line.revoked_job is None


# ---- revocations -----------------------------------------------------------------------------------------------------


def test_each_answer_is_for_the_oldest_revocation_that_has_none() -> None:
    line = new_line()
    run(line)
    prefetch(line)
    line.begin_revocation()
    end(line)
    doubtful_one = go_on(line)
    line.end_revocation()
    meant_by_second = prefetch(line)
    line.begin_revocation()
    line.end_revocation()
    meant_by_none = prefetch(line)

    assert line.take_answer()
    assert line.withdraw_revoked() == []
    assert line.revoked_job is doubtful_one
    assert line.owes_answer
    assert line.take_answer()
    assert line.withdraw_revoked() == [meant_by_second]
    assert list(line.prefetched) == [meant_by_none]
    assert not line.owes_answer


def test_a_process_whose_job_waits_for_its_answer_cannot_have_answered_a_revocation() -> None:
    """It answers between two jobs, and is in the midst of one: what it says is a lie."""
    line = new_line()
    job = run(line)
    revoke(line)
    job.move(JobState.PARKED)
    assert not line.take_answer()


def test_while_a_revocation_is_sent_another_is_not() -> None:
    line = new_line()
    run(line)
    prefetch(line)
    line.begin_revocation()
    assert line.is_revoking
    line.end_revocation()
    assert (line.is_revoking, line.revokes_sent) == (False, 1)


# ---- what a process may hold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer_bytes", [4_608, 16_384, 212_992, 1 << 21])
def test_what_waits_fits_into_the_socket_beside_what_runs_and_a_revocation(buffer_bytes: int) -> None:
    room = new_line(buffer_bytes).room_bytes
    assert room == min(MAX_PREFETCHED_BYTES, buffer_bytes // BUFFER_PART)
    assert 2 * room < buffer_bytes


def test_a_line_is_its_process_s_for_life() -> None:
    worker = FakeWorker()
    line = Line(cast(Worker, worker))
    assert worker.line is line
    assert line.worker is cast(Any, worker)
