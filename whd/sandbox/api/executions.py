"""Executions other than the flow's own: children, and those that are looked up by id.

A child is started by one call and waited for by another; in between it lives in the daemon, and this object holds no
more than its id and what is known for good: what an ended execution was does not change any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from ..errors import DependencyFailedError, InvalidInputError
from ..inputs import as_output
from ..run import READABLE, SUCCESS, Run
from . import arguments
from .child_input import child_input
from .sealed import Sealed, seal

FIELDS = (*READABLE, "ended_at")
FLOW_CALL = "child.start"
# Fields that a child has once it was started, and those that it has once it ended.
_SINCE_ITS_START = frozenset({"id", "created_at", "started_at"})
_AT_ITS_END = frozenset({"output_value", "ended_at"})
MAX_QUOTED_CHARS = 4_000
# An execution that is no child is polled: soon, then at growing intervals.
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


class Execution(Sealed):
    """The base of `this`, of children, and of executions that were looked up."""

    __slots__ = ()


class Child(Execution):
    """An execution in the daemon. `_start`: the call that starts it, None once that was made.

    `_known`: fields that cannot change any more. `_is_child`: the daemon reports its end; others are polled.
    `_is_deferred`: run=False was not said but understood (deferred_starts.py).
    """

    __slots__ = ("_id", "_is_child", "_is_deferred", "_known", "_label", "_run", "_start")
    _id: str
    _is_child: bool
    _is_deferred: bool
    _known: dict[str, Any]
    _label: str
    _run: Run
    _start: tuple[str, dict[str, Any]] | None
    _missing = {  # noqa: RUF012  # read only
        **dict.fromkeys(("save", "set", "set_output"), "a child's fields are its own: it sets them with this.save"),
        **dict.fromkeys(("archive", "delete"), "ended executions go by themselves (retention_minutes); leave it out"),
        **dict.fromkeys(("pause", "resume"), "cancel() ends it"),
        "clone": "call this.flow or this.task once more",
    }

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        values = self._read((name, *more), is_fresh=False)
        return tuple(values) if more else values[0]

    def load(self, name: str, /, *more: str) -> Any:
        """A field, read anew even if it is known; several give a tuple."""
        values = self._read((name, *more), is_fresh=True)
        return tuple(values) if more else values[0]

    def run(self) -> Self:
        """Starts it, if that has not been done, and waits for it. Raises DependencyFailedError."""
        if not self._is_ended():
            wait_for(self._run, [self], "ALL_SUCCEEDED")
        return self

    def run_async(self) -> Self:
        """Starts it, if that has not been done, and goes on."""
        self._begin()
        return self

    def wait(self, return_when: str = "ALL_SUCCEEDED") -> Self:
        """Waits for its end, and starts it before if need be. Raises DependencyFailedError unless ALL_ENDED."""
        wait_for(self._run, [self], arguments.return_when(return_when, "wait: return_when"))
        return self

    def cancel(self) -> None:
        """Ends it; harmless when it has ended."""
        if self._start is not None:
            raise InvalidInputError(f"cancel: {self._label!r} has not been started")
        self._run.call("execution.cancel", {"id": self._id})

    def __repr__(self) -> str:
        return f"<Execution {self._label!r} {self._id}>"

    # ---- what is known of it -----------------------------------------------------------------------------------------

    def _is_ended(self) -> bool:
        return "status" in self._known

    def _begin(self) -> None:
        if self._start is not None:
            call, start = self._start
            raw = b""
            if call == FLOW_CALL:
                # A task's inputs are looked at by the daemon; a flow's are passed on, however many they are.
                given = child_input(self._run, "this.flow", start["inputs"], start.get("protect_inputs", []))
                raw = given.text
                start = {name: value for name, value in start.items() if name not in ("inputs", "protect_inputs")}
                if given.kinds:
                    start["kinds"] = given.kinds
                if given.masked:
                    start["masked"] = given.masked
            self._id = self._run.call(call, start, raw)["id"]
            self._start = None

    def _note(self, fields: dict[str, Any]) -> None:
        """Keeps fields of an ended execution."""
        if self._is_ended() or str(fields.get("status", "")).startswith("ENDED"):
            self._known.update(fields)

    def _read(self, names: Sequence[Any], *, is_fresh: bool) -> list[Any]:
        for name in names:
            if type(name) is not str or name not in FIELDS:
                what = arguments.shown(name)
                raise InvalidInputError(f"an execution has no field {what}; it has: {', '.join(FIELDS)}")
        if self._is_deferred and self._start is not None:
            self._run_for(names)
        if self._start is not None:
            before = self._before(self._start[1])
            return [before.get(name) for name in names]
        known = {"id": self._id} if is_fresh else {"id": self._id, **self._known}
        wanted = sorted({name for name in names if name not in known})
        if wanted:
            answer = self._run.call("execution.get", {"id": self._id, "fields": wanted})
            if "output_value" in answer:
                answer["output_value"] = as_output(answer["output_value"])
            self._note(answer)
            known.update(answer)
        return [known[name] for name in names]

    def _run_for(self, names: Sequence[str]) -> None:
        """A deferred child that is asked for what only a started one has was meant to run where it was made."""
        if not _AT_ITS_END.isdisjoint(names):
            self.run()
        elif not _SINCE_ITS_START.isdisjoint(names):
            self._begin()

    def _before(self, start: dict[str, Any]) -> dict[str, Any]:
        """The fields of an execution that has not been started; the others are None."""
        return {
            "name": self._label,
            "type": "FLOW" if "flow" in start else "TASK",
            "status": "PENDING",
            "message": "",
            "input_value": start["inputs"],
            "flow_name": start.get("flow"),
            "user_name": self._run.field("user_name"),
            "client_name": self._run.field("client_name"),
        }


def make_child(run: Run, call: str, start: dict[str, Any], label: str) -> Child:
    """A child that `call` with the arguments `start` will start."""
    child: Child = object.__new__(Child)
    child._run = run
    child._start = (call, start)
    child._label = label
    child._id = ""
    child._known = {}
    child._is_child = True
    child._is_deferred = False
    return child


def look_up(run: Run, execution_id: Any) -> Child:
    """Another execution of the same client and user, by its id."""
    found: Child = object.__new__(Child)
    found._run = run
    found._start = None
    found._label = "execution"
    found._id = arguments.text(execution_id, "system.execution: an execution's id")
    found._known = {}
    found._is_child = False
    found._is_deferred = False
    return found


# ---- waiting ---------------------------------------------------------------------------------------------------------


def executions_of(given: Sequence[Any]) -> list[Child]:
    """What wait_for was given, executions one by one or in one list, each once. Raises InvalidInputError."""
    if len(given) == 1 and type(given[0]) is not Child and not isinstance(given[0], str):
        with suppress(TypeError):  # not iterable: the error below says what it must be
            given = list(given[0])
    for one in given:
        if type(one) is not Child:
            raise InvalidInputError(
                f"this.wait_for takes executions, as this.flow and this.task give them, or one list of them, not "
                f"{arguments.shown(one)}"
            )
    return list(dict.fromkeys(given))


def wait_for(run: Run, children: list[Child], when: str) -> tuple[Child, ...]:
    """Starts those that have not been, waits, and answers those that have ended. Raises DependencyFailedError."""
    for child in children:
        child._begin()
        if child._id == run.field("id"):
            raise InvalidInputError("an execution cannot wait for itself: that would never end")
    if not _is_decided(children, when):
        if all(child._is_child for child in children):
            _wait_at_daemon(run, children, when)
        else:
            _wait_by_asking(run, children, when)
    ended = tuple(child for child in children if child._is_ended())
    failed = tuple(child for child in ended if child._known["status"] != SUCCESS)
    if failed and when != "ALL_ENDED":
        raise _dependency_failed(failed)
    return ended


def _is_decided(children: list[Child], when: str) -> bool:
    statuses = [child._known.get("status") for child in children]
    if None not in statuses:
        return True
    if when == "FIRST_ENDED":
        return any(statuses)
    return when == "ALL_SUCCEEDED" and any(status not in (None, SUCCESS) for status in statuses)


def _wait_at_daemon(run: Run, children: list[Child], when: str) -> None:
    waiting = {child._id: child for child in children if not child._is_ended()}
    answer = run.call("child.wait", {"ids": list(waiting), "return_when": when})
    for child_id, end in answer.items():
        child = waiting[child_id]
        child._label = end["name"]
        child._note({"status": end["status"], "message": end["message"]})


def _wait_by_asking(run: Run, children: list[Child], when: str) -> None:
    pause_s = FIRST_PAUSE_S
    while True:
        for child in children:
            if not child._is_ended():
                child._read(("status", "message"), is_fresh=True)
        if _is_decided(children, when):
            return
        run.call("sleep", {"seconds": pause_s})
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _dependency_failed(failed: tuple[Child, ...]) -> DependencyFailedError:
    first = failed[0]
    status, message = first._known["status"], _quoted(first._known.get("message") or "")
    what = "child execution" if first._is_child else "execution"
    more = f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""
    text = f"the {what} {first._label!r} ({first._id}) ended with {status}{more}{f': {message}' if message else ''}"
    error = DependencyFailedError(text)
    error.execution, error.executions = first, failed
    return error


def _quoted(message: str) -> str:
    if len(message) <= MAX_QUOTED_CHARS:
        return message
    # A traceback says at its end what happened.
    return f"{message[: MAX_QUOTED_CHARS // 4]}…{message[-MAX_QUOTED_CHARS * 3 // 4 :]}"


seal(Child, "Execution", "child")
