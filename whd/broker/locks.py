"""Named locks of a client's executions (`setting.acquire`): first come, first served, and gone with their holder.

A lock exists while somebody holds it. Acquiring a lock that one holds already is harmless, and one release gives it
back. Two holders that wait for each other wait until a time-out, or until one of them is ended by its own limits.
Nothing here does I/O; the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..errors import WhdError

# One execution that takes lock after lock must not fill the daemon's memory.
MAX_HELD: Final = 1_000

LockKey = tuple[str, str]


class LockError(WhdError):
    """The lock was not acquired: `kind` names the flow_api error that it becomes."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


Acquired = Callable[[LockError | None], None]


class Timer(Protocol):
    """What `call_later` gives."""

    def cancel(self) -> None:
        """Keeps it from being called."""


CallLater = Callable[[float, Callable[[], None]], Timer]


class LockTable(Protocol):
    """What flows' calls need of the locks. A holder is an execution's id, or anything that stands for it."""

    def acquire(self, client_name: str, name: str, holder: Any, timeout_s: float | None, callback: Acquired) -> None:
        """Calls `callback(None)` once `holder` has the lock, before this returns if it can be had at once.

        Else `callback(LockError)` after `timeout_s` (None: never; 0 or less: at once). A holder that ends before that
        is not called any more.
        """

    def release(self, client_name: str, name: str, holder: Any) -> object:
        """Gives the lock to the holder that waited longest; does nothing if `holder` did not have it."""

    def release_all(self, holder: Any) -> None:
        """The holder ended or died: gives back what it has, and takes it out of every queue without a call."""


@dataclass(slots=True, eq=False)
class _Wait:
    holder: Hashable
    callback: Acquired
    timer: Timer | None = None


@dataclass(slots=True)
class _Lock:
    holder: Hashable
    # In the order in which they came.
    waits: dict[_Wait, None] = field(default_factory=dict)


class Locks(LockTable):
    """All locks. `call_later`: the loop's."""

    def __init__(self, call_later: CallLater) -> None:
        self._call_later = call_later
        self._locks: dict[LockKey, _Lock] = {}
        # The locks that each holder has or waits for, in the order in which it asked.
        self._of: dict[Hashable, dict[LockKey, None]] = {}

    @property
    def held(self) -> int:
        """How many locks are held."""
        return len(self._locks)

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return sum(len(lock.waits) for lock in self._locks.values())

    def holder(self, client_name: str, name: str) -> Hashable | None:
        """Who holds the lock, None if it is free."""
        lock = self._locks.get((client_name, name))
        return None if lock is None else lock.holder

    def acquire(
        self, client_name: str, name: str, holder: Hashable, timeout_s: float | None, callback: Acquired
    ) -> None:
        key = (client_name, name)
        own = self._of.setdefault(holder, {})
        lock = self._locks.get(key)
        if (lock is None or lock.holder != holder) and key not in own and len(own) >= MAX_HELD:
            callback(LockError("CloudomationException", f"an execution holds at most {MAX_HELD} locks at once"))
            return
        if lock is None:
            lock = self._locks[key] = _Lock(holder)
        if lock.holder == holder:
            own[key] = None
            callback(None)
            return
        if timeout_s is not None and timeout_s <= 0:
            self._tidy(holder)
            callback(_timed_out(name, timeout_s))
            return
        wait = _Wait(holder, callback)
        lock.waits[wait] = None
        own[key] = None
        if timeout_s is not None:
            wait.timer = self._call_later(timeout_s, lambda: self._time_out(key, wait, timeout_s))

    def release(self, client_name: str, name: str, holder: Hashable) -> bool:
        """Returns False if `holder` did not have the lock."""
        key = (client_name, name)
        lock = self._locks.get(key)
        if lock is None or lock.holder != holder:
            return False
        self._forget(holder, key)
        self._hand_on(key, lock)
        return True

    def release_all(self, holder: Hashable) -> None:
        for key in self._of.pop(holder, {}):
            lock = self._locks[key]
            for wait in [wait for wait in lock.waits if wait.holder == holder]:
                self._drop(lock, wait)
            if lock.holder == holder:
                self._hand_on(key, lock)

    def _hand_on(self, key: LockKey, lock: _Lock) -> None:
        if not lock.waits:
            del self._locks[key]
            return
        lock.holder = next(iter(lock.waits)).holder
        # All its waits for this lock are granted: were some left, it would wait for itself.
        granted = [wait for wait in lock.waits if wait.holder == lock.holder]
        for wait in granted:
            self._drop(lock, wait)
        for wait in granted:
            wait.callback(None)

    def _time_out(self, key: LockKey, wait: _Wait, timeout_s: float) -> None:
        lock = self._locks[key]
        wait.timer = None
        self._drop(lock, wait)
        if not any(other.holder == wait.holder for other in lock.waits):
            self._forget(wait.holder, key)
        wait.callback(_timed_out(key[1], timeout_s))

    def _drop(self, lock: _Lock, wait: _Wait) -> None:
        del lock.waits[wait]
        if wait.timer is not None:
            wait.timer.cancel()

    def _forget(self, holder: Hashable, key: LockKey) -> None:
        own = self._of.get(holder, {})
        own.pop(key, None)
        self._tidy(holder)

    def _tidy(self, holder: Hashable) -> None:
        if not self._of.get(holder, True):
            del self._of[holder]


def _timed_out(name: str, timeout_s: float) -> LockError:
    return LockError(
        "TimeoutExceededError", f"the lock {name!r} could not be acquired within {max(0.0, timeout_s):g} s"
    )
