"""What a flow asks of the daemon: decided by its user's permissions, done, answered; all in this one place.

A worker has no authority of its own: a setting, a sleep, everything beyond its own memory is a call that comes in here
with a name and JSON arguments, both hostile. Rights and settings are those of the present snapshot, so that what an
operator takes away is gone at once, also for flows that run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from .auth.permissions import Action, PermissionDenied, authorize
from .executions.record import Execution
from .pool.job import Job
from .pool.pool import Pool
from .settings.model import Client, Snapshot, User

log = logging.getLogger("whd.broker")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class CallError(Exception):
    """A call that is answered with an error: `kind` is the name of the flow_api error that it becomes in the flow."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Broker:
    """Answers calls through the pool. A handler returns the value, or None after it arranged for a later answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, snapshot: Callable[[], Snapshot]) -> None:
        self._loop = loop
        self._snapshot = snapshot
        self._timers: dict[Job, asyncio.TimerHandle] = {}
        self.pool: Pool | None = None
        self.refused_total = 0
        self._handlers: dict[str, Callable[[_Call], bytes | None]] = {
            "sleep": self._sleep,
            "setting.get": self._setting_get,
            "setting.exists": self._setting_exists,
        }

    def handle(self, execution: Execution, job: Job, number: int, name: str, arguments: Any) -> None:
        """One call of a running flow; answered now or later."""
        call = _Call(execution, job, number, arguments)
        try:
            call.check()
            handler = self._handlers.get(name)
            if handler is None:
                raise CallError("CloudomationException", f"{name} is not available in this version of whd")
            value = handler(call)
        except PermissionDenied as error:
            self.refused_total += 1
            log.warning("%s: execution %s: %s", execution.client_name, execution.id, error)
            self._answer(call, error=("PermissionDenied", str(error)))
        except CallError as error:
            self._answer(call, error=(error.kind, str(error)))
        else:
            if value is not None:
                self._answer(call, value=value)

    def forget(self, job: Job) -> None:
        """The job ended: nothing more is done for it."""
        timer = self._timers.pop(job, None)
        if timer is not None:
            timer.cancel()

    def _answer(self, call: _Call, *, value: bytes = b"null", error: tuple[str, str] | None = None) -> None:
        if self.pool is not None:
            self.pool.answer(call.job, call.number, value=value, error=error)

    def _client_and_user(self, call: _Call) -> tuple[Client, User]:
        client = self._snapshot().clients.get(call.execution.client_name)
        user = client.users.get(call.execution.user_name) if client is not None else None
        if client is None or user is None:
            raise CallError("PermissionDenied", f"user {call.execution.user_name} does not exist any more")
        return client, user

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def _sleep(self, call: _Call) -> None:
        """{seconds} or {until: seconds since 1970}: answered then. The execution is parked meanwhile."""
        until = call.number_argument("until")
        seconds = call.number_argument("seconds") if until is None else until - time.time()
        if seconds is None:
            raise CallError("MissingInputError", "sleep needs seconds")
        self._timers[call.job] = self._loop.call_later(max(0.0, seconds), self._wake, call)

    def _wake(self, call: _Call) -> None:
        self._timers.pop(call.job, None)
        self._answer(call)

    def _setting_get(self, call: _Call) -> bytes:
        """{name}: the setting's value."""
        name = call.text_argument("name")
        client, user = self._client_and_user(call)
        authorize(user, Action.READ_SETTING, name)
        setting = client.settings.get(name)
        if setting is None:
            raise CallError("ResourceNotFoundError", f"there is no setting {name!r}")
        return _encode(setting.value).encode("ascii")

    def _setting_exists(self, call: _Call) -> bytes:
        """{name}: whether there is such a setting."""
        name = call.text_argument("name")
        client, user = self._client_and_user(call)
        authorize(user, Action.READ_SETTING, name)
        return b"true" if name in client.settings else b"false"


class _Call:
    """One call with checked access to its arguments."""

    __slots__ = ("_arguments", "execution", "job", "number")

    def __init__(self, execution: Execution, job: Job, number: int, arguments: Any) -> None:
        self.execution = execution
        self.job = job
        self.number = number
        self._arguments = arguments

    def check(self) -> None:
        """The arguments come as one object. Raises CallError."""
        if type(self._arguments) is not dict:
            raise CallError("InvalidInputError", "the arguments are not an object")

    def text_argument(self, name: str) -> str:
        """A text argument that must be there. Raises CallError."""
        value = self._arguments.get(name)
        if type(value) is not str:
            raise CallError("InvalidInputError", f"{name} must be text, not {type(value).__name__}")
        return value

    def number_argument(self, name: str) -> float | None:
        """A finite number, None if it is not given. Raises CallError."""
        value = self._arguments.get(name)
        if value is None:
            return None
        if type(value) not in (int, float):
            raise CallError("InvalidInputError", f"{name} must be a number, not {type(value).__name__}")
        # More than that and the clock's arithmetic would overflow; every execution's timeout_s is shorter.
        return float(min(max(value, -1e9), 1e12))
