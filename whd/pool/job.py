"""What the pool and its customer hand each other: a Job to run, an End that came of it.

Nothing here does I/O.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..model.execution import Cause, Status
from ..model.options import Limits
from ..model.snapshot import Flow
from ..valueclass import valueclass

if TYPE_CHECKING:
    from .compiler import Code
    from .worker import Worker


class JobState(enum.Enum):
    """Where a job stands; JOB_MOVES says what may follow what."""

    # Enum's own hash is a Python function; each move would pay for it three times.
    __hash__ = object.__hash__

    NEW = "not handed to the pool yet"
    QUEUED = "waits for a place"
    STARTING = "has a place, waits for a process or for its flow to be compiled"
    PREFETCHED = "is with a process already, behind a short job that runs there; has not started"
    RUNNING = "runs"
    PARKED = "waits for the daemon's answer to a call: holds its process but no place"
    RESUMING = "has its answer, waits for a place"
    CHECKING = "its flow ended, its large output is being checked in another process"
    ENDED = "over"


JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.NEW: frozenset({JobState.QUEUED, JobState.ENDED}),
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.PREFETCHED, JobState.ENDED}),
    JobState.PREFETCHED: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.ENDED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.ENDED}),
    JobState.RUNNING: frozenset({JobState.PARKED, JobState.CHECKING, JobState.QUEUED, JobState.ENDED}),
    JobState.PARKED: frozenset({JobState.RESUMING, JobState.ENDED}),
    JobState.RESUMING: frozenset({JobState.RUNNING, JobState.ENDED}),
    JobState.CHECKING: frozenset({JobState.ENDED}),
    JobState.ENDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class FlowResponse:
    """An answer that a flow chose itself for its webhook's caller; `headers` as they may be sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@valueclass
class End:
    """How a job ended.

    `output_json`: None leaves what the flow saved before. `response`: the answer that the flow chose itself for a
    webhook's caller. `name`: what it named its execution.
    """

    status: Status
    message: str
    cause: Cause = Cause.NONE
    output_json: bytes | None = None
    response: FlowResponse | None = None
    name: str = ""


class JobListener(Protocol):
    """Who handed the job in. Each is called on the loop; after `on_end` none of them is called any more."""

    def on_start(self, job: Job) -> None:
        """The flow is about to run; called once."""

    def on_postponed(self, job: Job) -> None:
        """The flow had not started after all: it waits again, and `on_start` is called anew."""

    def on_log(self, job: Job, lines_json: bytes) -> None:
        """The flow logged: a JSON list of lines, checked to be one."""

    def on_call(self, job: Job, call: int, name: str, arguments: Any, raw: bytes) -> None:
        """The flow asks for something; it is answered through Pool.answer. `raw`: bytes that came along, unchecked."""

    def on_end(self, job: Job, end: End) -> None:
        """The job is over; called once, also for a job that never started."""


@dataclass(slots=True, eq=False)
class Job:
    """One execution for the pool. Only the fields up to `is_first` are the customer's to fill.

    `about_json`: what a flow may know of its execution and of all others of its webhook, as JSON members without
    braces. `name`: what the execution is called, if that is not in there. `is_first`: a child or a restarted
    execution, which waits before new calls and outside max_queue.
    """

    client_name: str
    user_name: str
    flow: Flow
    limits: Limits
    isolation: str
    input_json: bytes
    execution_id: str
    created_ms: int
    about_json: str
    listener: JobListener
    name: str = ""
    is_child: bool = False
    is_first: bool = False

    state: JobState = JobState.NEW
    number: int = 0
    worker: Worker | None = None
    code: Code | None = None
    deadline: float = 0.0
    started: float = 0.0
    resuming_since: float = 0.0
    cpu_base_s: float = -1.0
    calls: int = 0
    calls_bytes: int = 0
    refusals: int = 0
    open_call: int = -1
    log_bytes: int = 0
    log_lines: int = 0
    answer: bytes = b""
    # How many revocations its process had been sent when it was handed over; -1 for one that was not handed over.
    prefetched_after: int = -1
    # What was written for it to its process.
    frame_bytes: int = 0

    def move(self, state: JobState) -> None:
        """Changes the state along JOB_MOVES; anything else is a defect."""
        if state not in JOB_MOVES[self.state]:
            raise AssertionError(f"job {self.number}: {self.state.name} to {state.name}")
        self.state = state
