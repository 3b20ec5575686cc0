"""Every move of a job: those of JOB_MOVES change its state, any other is a defect that changes nothing."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest

from whd.model.options import Options
from whd.model.snapshot import Flow
from whd.pool.job import JOB_MOVES, Job, JobState

FLOW = Flow("acme", "signup", "source", "hash", "flows/acme/signup.py")


def job(state: JobState) -> Job:
    made = Job("acme", "kevin", FLOW, Options(), "user", b"{}", "0198", 1, "", cast(Any, None))
    made.state = state
    return made


@pytest.mark.parametrize(("state", "to"), list(product(JobState, JobState)), ids=lambda each: each.name)
def test_every_move(state: JobState, to: JobState) -> None:
    one = job(state)
    if to in JOB_MOVES[state]:
        one.move(to)
        assert one.state is to
    else:
        with pytest.raises(AssertionError, match=rf"{state.name} to {to.name}"):
            one.move(to)
        assert one.state is state


def test_every_state_can_be_reached_and_all_but_the_last_can_end() -> None:
    assert set(JOB_MOVES) == set(JobState)
    assert set().union(*JOB_MOVES.values()) == set(JobState) - {JobState.NEW}
    assert all(JobState.ENDED in moves for state, moves in JOB_MOVES.items() if state is not JobState.ENDED)
    assert not JOB_MOVES[JobState.ENDED]


def test_a_job_that_waited_for_its_slot_is_not_charged_for_it() -> None:
    one = job(JobState.STARTING)
    one.begin(100.0)
    limit_s = one.limits.timeout_s
    assert one.deadline == 100.0 + limit_s
    one.move(JobState.PARKED)
    one.resume(b"an answer", 105.0)
    assert one.go_on(112.0) == b"an answer"
    assert one.deadline == 100.0 + limit_s + 7.0


def test_the_cpu_that_its_process_used_before_is_not_its_own() -> None:
    one = job(JobState.STARTING)
    one.begin(100.0)
    assert one.cpu_used_s(50.0, 100.5) == 0.0, "the first look"
    assert one.cpu_used_s(52.0, 102.0) == pytest.approx(2.5), "all the time before the first look counts as used"
