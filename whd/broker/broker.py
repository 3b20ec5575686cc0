"""The table of calls, and the one way in which each is decided, done and answered.

A worker has no authority of its own: a setting, a sleep, everything beyond its own memory is a call that comes in here
with a name and JSON arguments, both hostile. Rights and settings are those of the present snapshot, so that what an
operator takes away is gone at once, also for flows that run. The areas (settings, children, …) are modules beside this
one; each gives a table of its calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..auth.permissions import PermissionDenied
from ..errors import SaveRefused, WhdError
from ..model.budget import BufferBudget
from ..model.execution import Execution
from ..model.snapshot import Client, Snapshot, User
from ..pool.job import Job
from ..pool.pool import Pool
from .call import CallError, FlowCall

log = logging.getLogger("whd.broker")

# Larger answers count against max_buffered_bytes until the flow has taken them.
HELD_FROM_BYTES = 65_536
# Of one execution; `whd status` counts them all.
MAX_LOGGED_REFUSALS = 10

# Returns the answer's value as JSON text, or None if the answer comes later.
CallHandler = Callable[[FlowCall], bytes | None]


class Broker:
    """Answers calls through the pool."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Callable[[], Snapshot],
        pool: Pool,
        budget: BufferBudget,
    ) -> None:
        self._loop = loop
        self._snapshot = snapshot
        self._pool = pool
        self._budget = budget
        self._held: dict[Job, int] = {}
        self._timers: dict[Job, asyncio.TimerHandle] = {}
        self._handlers: dict[str, CallHandler] = {"sleep": self._sleep}
        self.on_forget: list[Callable[[Job], None]] = []
        self.refused_total = 0

    def add(self, handlers: Mapping[str, CallHandler]) -> None:
        """Adds an area's calls."""
        self._handlers.update(handlers)

    def handle(self, execution: Execution, job: Job, number: int, name: str, arguments: Any, raw: bytes = b"") -> None:
        """One call of a running flow; answered now or later."""
        if self._held:
            self._let_go(job)  # its next call shows that the last answer was taken
        call = FlowCall(execution, job, number, name, arguments, raw)
        self.do(call, self._do)

    def _do(self, call: FlowCall) -> bytes | None:
        call.check()
        handler = self._handlers.get(call.name)
        if handler is None:
            raise CallError("CloudomationException", f"{call.name} is not available in this version of whd")
        return handler(call)

    def do(self, call: FlowCall, handler: CallHandler) -> None:
        """Handles a call, and answers it whatever happens."""
        try:
            value = handler(call)
        except (CallError, PermissionDenied) as error:
            self.refuse(call, error)
        except SaveRefused as error:
            self.refuse_save(call, error)
        except Exception:
            # A defect of ours must not leave the flow waiting for ever.
            log.exception("%s of execution %s", call.name, call.execution.id)
            text = f"{call.name}: internal error; the daemon's log has more"
            self.refuse(call, CallError("CloudomationException", text))
        else:
            if value is not None:
                self.answer(call, value)

    def answer(self, call: FlowCall, value: bytes = b"null", raw: bytes = b"") -> None:
        """Answers a call; one whose execution has ended meanwhile is dropped. `raw`: a file's content."""
        size = len(value) + len(raw)
        if size > HELD_FROM_BYTES and call.job.open_call == call.number:
            if not self._budget.take(size):
                text = f"{call.name}: whd holds too many large answers at once (max_buffered_bytes); try again later"
                self.refuse(call, CallError("CloudomationException", text))
                return
            self._held[call.job] = size
        self._pool.answer(call.job, call.number, value=value, raw=raw)

    def _let_go(self, job: Job) -> None:
        self._budget.give(self._held.pop(job, 0))

    def refuse(self, call: FlowCall, error: CallError | PermissionDenied) -> None:
        """Answers a call with an error; a refusal by permission is counted and logged."""
        kind = error.kind if isinstance(error, CallError) else "PermissionDenied"
        if kind == "PermissionDenied":
            self.note_refusal(call, str(error))
        self._pool.answer(call.job, call.number, error=(kind, str(error)))

    def note_refusal(self, call: FlowCall, text: str) -> None:
        """Counts and logs a refusal by permission; of one execution only the first ones are logged."""
        self.refused_total += 1
        if call.job.count_refusal() <= MAX_LOGGED_REFUSALS:
            log.warning("%s: execution %s: %s", call.execution.client_name, call.execution.id, text)

    def refuse_save(self, call: FlowCall, error: WhdError) -> None:
        """Answers a call with what kept something from being saved or read: a permission, a bound, the disk."""
        if isinstance(error, PermissionDenied):
            self.refuse(call, error)
        else:
            self.refuse(call, CallError(getattr(error, "kind", "CloudomationException"), error.detail))

    def when_done(self, call: FlowCall) -> Callable[[WhdError | None], None]:
        """A callback that answers the call once something is on disk, or with the error that prevented it."""

        def done(error: WhdError | None) -> None:
            if error is None:
                self.answer(call)
            else:
                self.refuse_save(call, error)

        return done

    def forget(self, job: Job) -> None:
        """The job ended: nothing more is done for it, and what it holds is released."""
        self._let_go(job)
        for release in self.on_forget:
            release(job)
        timer = self._timers.pop(job, None)
        if timer is not None:
            timer.cancel()

    def who(self, call: FlowCall) -> tuple[Client, User]:
        """The client and user behind a call, as they stand now. Raises CallError."""
        client = self._snapshot().clients.get(call.execution.client_name)
        user = client.users.get(call.execution.user_name) if client is not None else None
        if client is None or user is None:
            # Whatever the call is: a user that does not exist may do nothing.
            what = f"user {call.execution.user_name} does not exist any more, so {call.name} is refused"
            raise CallError("PermissionDenied", what)
        return client, user

    def _sleep(self, call: FlowCall) -> None:
        """{seconds} or {until: seconds since 1970}: answered then. The execution is parked meanwhile."""
        until = call.number_or_none("until")
        seconds = call.number_or_none("seconds") if until is None else until - time.time()
        if seconds is None:
            raise CallError("MissingInputError", "sleep needs seconds")
        self._timers[call.job] = self._loop.call_later(max(0.0, seconds), self._wake, call)

    def _wake(self, call: FlowCall) -> None:
        self._timers.pop(call.job, None)
        self.answer(call)
