"""What the pool and its listener give each other: a Job to run, an End that came of it.

Nothing here does I/O.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from ..model.execution import Cause, Status
from ..model.options import Limits
from ..model.snapshot import Flow
from ..valueclass import valueclass

if TYPE_CHECKING:
    from .compiler import Code
    from .line import Line

# Of a job that the process was given when it had nothing to do; see Job.revokes_before.
NOT_PREFETCHED = -1

_numbers = count(1)


class JobState(enum.Enum):
    """Where a job stands; JOB_MOVES says what may follow what."""

    # Enum's own hash is a Python function; each move would pay for it three times.
    __hash__ = object.__hash__

    NEW = "not submitted to the pool yet"
    QUEUED = "waits for a slot"
    STARTING = "has a slot, waits for a process or for its flow to be compiled"
    PREFETCHED = "is with a process already, behind a short job that runs there; has not started"
    RUNNING = "runs"
    PARKED = "waits for the daemon's answer to a call: holds its process but no slot"
    RESUMING = "has its answer, waits for a slot"
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
    output_json: bytes | bytearray | None = None
    response: FlowResponse | None = None
    name: str = ""


class JobListener(Protocol):
    """Who submitted the job. Each is called on the loop; after `on_end` none of them is called any more."""

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
    """One execution for the pool: up to `is_first` what its listener fills in, then its life.

    `about_json`: what a flow may know of its execution and of all others of its webhook, as JSON members without
    braces. `name`: what the execution is called, if that is not in there. `is_first`: a child or a restarted
    execution, which waits before new calls and outside max_queue.

    What comes after `is_first` everybody may read; it is written by the methods here, but for the two groups that name
    another module (tests/pool/test_ownership.py).
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

    # What its frames are known by; no two jobs of this process have the same.
    number: int = field(default_factory=_numbers.__next__)
    state: JobState = JobState.NEW
    deadline: float = 0.0
    started: float = 0.0
    # Its requests to the daemon: how many, their bytes, which one is open (-1: none), how many were refused.
    calls: int = 0
    calls_bytes: int = 0
    open_call: int = -1
    refusals: int = 0
    log_bytes: int = 0
    log_lines: int = 0
    _answer: bytes = b""
    _resuming_since: float = 0.0
    _cpu_base_s: float = -1.0

    # Its stay in a process, written by line.py. `revokes_before`: how many revocations the process had been sent when
    # the job was prefetched, NOT_PREFETCHED for one that was not.
    line: Line | None = None
    code: Code | None = None
    revokes_before: int = NOT_PREFETCHED
    # What was written for it to its process, by frames_out.py.
    frame_bytes: int = 0

    @property
    def webhook_name(self) -> str:
        """The webhook that it is answered through, "" without one. Read anew each time: for what is rarely asked."""
        name: str | None = json.loads(f"{{{self.about_json}}}").get("webhook_name")
        return name or ""

    def move(self, state: JobState) -> None:
        """Changes the state along JOB_MOVES; anything else is a defect."""
        if state not in JOB_MOVES[self.state]:
            raise self._defect(state)
        self.state = state

    def _defect(self, state: JobState) -> AssertionError:
        return AssertionError(f"job {self.number}: {self.state.name} to {state.name}")

    def begin(self, now: float) -> None:
        """Its process runs it from now on."""
        # As move() does it: each call pays for this.
        if JobState.RUNNING not in JOB_MOVES[self.state]:
            raise self._defect(JobState.RUNNING)
        self.state = JobState.RUNNING
        self.started = now
        self.deadline = now + self.limits.timeout_s

    def postpone(self) -> None:
        """It has not begun after all, and waits again; perhaps for another process, whose CPU clock is another."""
        self.move(JobState.QUEUED)
        self._cpu_base_s = -1.0

    @property
    def has_acted(self) -> bool:
        """Whether its flow has done what can be seen from outside."""
        return self.calls > 0 or self.log_lines > 0

    def count_log(self, size_bytes: int) -> None:
        """Its flow logged."""
        self.log_bytes += size_bytes
        self.log_lines += 1

    # ---- calls -------------------------------------------------------------------------------------------------------

    def count_call(self, size_bytes: int) -> None:
        """Its flow made a request of so many bytes."""
        self.calls += 1
        self.calls_bytes += size_bytes

    def open(self, call: int) -> None:
        """The request of this number is to be answered."""
        self.open_call = call

    def close_call(self) -> None:
        """The open request has its answer, or needs none any more."""
        self.open_call = -1

    def count_refusal(self) -> int:
        """One of its requests was refused; how many were by now."""
        self.refusals += 1
        return self.refusals

    def resume(self, answer: bytes, now: float) -> None:
        """It was parked, and waits for a slot from now on, in which its flow gets the answer's frame."""
        self.move(JobState.RESUMING)
        self._answer = answer
        self._resuming_since = now

    def go_on(self, now: float) -> bytes:
        """It has a slot again: the answer's frame."""
        self.move(JobState.RUNNING)
        # Like the wait for the first slot, this one is not the flow's own time.
        self.deadline += now - self._resuming_since
        answer, self._answer = self._answer, b""
        return answer

    # ---- CPU ---------------------------------------------------------------------------------------------------------

    def cpu_used_s(self, process_s: float, now: float) -> float:
        """How much of its process's CPU seconds is its own; 0 at the first look.

        A short job is never measured. The first look counts all the time so far as used: at most one sweep.
        """
        if self._cpu_base_s < 0:
            self._cpu_base_s = max(0.0, process_s - (now - self.started))
            return 0.0
        return process_s - self._cpu_base_s
