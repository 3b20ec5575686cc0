"""Large payloads and outputs: read and checked in a process of their own, so that they hold up nobody.

The JSON parser keeps the interpreter to itself while it works, so a thread would not do. The process is walled like
every other and runs no flow; it stays warm for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..errors import BadPayload, HttpError, Overloaded, TooLarge
from ..model.options import Options
from ..wire.frames import FrameError, frame_start, split
from ..wire.payload import Parsed
from ..wire.strict_json import MAX_OUTPUT_DEPTH
from .frames_in import int_member, text_member
from .processes import Processes
from .worker import Binding, Worker

TASK_TIMEOUT_S = 30.0
MEMORY_PER_BYTE = 48
MIN_MEMORY_BYTES = 1_073_741_824

OnParsed = Callable[[Parsed | HttpError], None]


@dataclass(slots=True)
class _Task:
    start: bytes
    parts: Sequence[bytes | bytearray]
    value_bytes: int
    done: OnParsed
    number: int = 0


class PayloadParser:
    """One process at a time, one task at a time, first come first served."""

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: Processes, options: Callable[[], Options]) -> None:
        self._loop = loop
        self._processes = processes
        self._options = options
        self._tasks: deque[_Task] = deque()
        self._worker: Worker | None = None
        self._present: _Task | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_asking = False
        self._numbers = 0

    def parse(
        self,
        body: bytes | list[bytes | bytearray],
        content_type: str,
        has_key: bool,
        done: OnParsed,
        *,
        start: str,
        gunzip_limit: int = 0,
        pointers: Sequence[str] = (),
        unwrap: str = "",
    ) -> None:
        """payload.parse elsewhere; `done` gets what it gives or raises. The body may be given in parts.

        `start`: the JSON object whose last members the payload's are, up to there. `gunzip_limit`: the body is gzip and
        may unpack to that many bytes; 0: it is not packed. `pointers`, `unwrap`: as payload.parse has them.
        """
        self._numbers += 1
        head: dict[str, Any] = {"op": "parse", "job": self._numbers, "content_type": content_type, "has_key": has_key}
        head["gunzip_limit"], head["start"] = gunzip_limit, start
        head["pointers"], head["unwrap"] = list(pointers), unwrap
        parts = body if isinstance(body, list) else [body]
        size = sum(map(len, parts))
        self._add(_Task(frame_start(head, size), parts, max(size, gunzip_limit), done, self._numbers))

    def check(self, output: bytes | bytearray, done: OnParsed, *, max_depth: int = MAX_OUTPUT_DEPTH) -> None:
        """Whether an output is strict JSON; `done` gets BadPayload if not."""
        self._numbers += 1
        start = frame_start({"op": "check", "job": self._numbers, "max_depth": max_depth}, len(output))
        self._add(_Task(start, [output], len(output), done, self._numbers))

    def _add(self, task: _Task) -> None:
        self._tasks.append(task)
        self._next()

    def _next(self) -> None:
        if self._present is not None or not self._tasks or self._is_asking:
            return
        options = self._options()
        largest = max(options.max_body_bytes, options.max_output_bytes)
        memory_bytes = max(MIN_MEMORY_BYTES, MEMORY_PER_BYTE * largest)
        binding = Binding("parse", "", "", memory_bytes, is_large=True)
        worker = self._processes.take_idle(binding)
        if worker is not None:
            self._send(worker)
            return
        self._is_asking = True
        self._processes.request(binding, self._on_worker, is_child=True)

    def _on_worker(self, worker: Worker | None, reason: str) -> None:
        self._is_asking = False
        if worker is not None:
            self._send(worker)
        else:
            self._tasks.popleft().done(Overloaded(f"large payloads cannot be read now: {reason}"))

    def _send(self, worker: Worker) -> None:
        task = self._present = self._tasks.popleft()
        self._worker = worker
        # What comes back is re-encoded: a character may become six (\uXXXX), binary data grows by a third.
        worker.expect(task.value_bytes * 6 + 65_536)
        worker.hold(task.start)
        for part in task.parts:
            worker.hold(part)
        worker.flush()
        self._timer = self._loop.call_later(TASK_TIMEOUT_S, self._timed_out)

    def _timed_out(self) -> None:
        if self._worker is not None:
            self._processes.discard(self._worker)
        self._finish(BadPayload(f"reading it took more than {TASK_TIMEOUT_S:g} s"))

    def on_frame(self, worker: Worker, payload: bytes | bytearray) -> bool:
        """A frame of the parsing process; False if it is not its."""
        if worker is not self._worker or self._present is None:
            return False
        try:
            head, value = split(payload)
            result = _read(head, value, self._present)
        except FrameError as error:
            self._processes.discard(worker)
            result = BadPayload(f"it could not be read: {error}")
        else:
            self._processes.give_back(worker)
        self._finish(result)
        return True

    def on_gone(self, worker: Worker) -> bool:
        """The parsing process died; False if it was another."""
        if worker is not self._worker:
            return False
        self._finish(BadPayload("it takes too much memory to be read"))
        return True

    def _finish(self, result: Parsed | HttpError) -> None:
        task, self._present, self._worker = self._present, None, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if task is not None:
            task.done(result)
        self._next()


def _read(head: dict[str, Any], value: bytes | bytearray | None, task: _Task) -> Parsed | HttpError:
    if head.get("job") != task.number or head.get("op") not in ("parsed", "checked"):
        raise FrameError("an answer to another question")
    if "error" in head:
        text = text_member(head, "error", 1_000)
        return TooLarge(text) if head.get("status") == 413 else BadPayload(text)
    keys = head.get("keys", [])
    if type(keys) is not list:
        raise FrameError("keys is not a list")
    value = value or b""
    if "rest_from" in head:
        value = _around(value, int_member(head, "begin_bytes"), task.parts, int_member(head, "rest_from"))
    picked = head.get("picked", {})
    if type(picked) is not dict or not all(text is None or type(text) is str for text in picked.values()):
        raise FrameError("picked is no dict of texts")
    # A large one is a bytearray, which is its reader's alone.
    texts = tuple(key if type(key) is str else None for key in keys)
    return Parsed(cast("bytes", value), texts, is_whole=True, picked=picked)


def _around(value: bytes | bytearray, begin_bytes: int, parts: Sequence[bytes | bytearray], rest_from: int) -> bytes:
    """The body from `rest_from` on, within `value`: the one copy of it that the daemon makes."""
    pieces: list[bytes | bytearray | memoryview] = [value[:begin_bytes]]
    for part in parts:
        if rest_from < len(part):
            pieces.append(memoryview(part)[rest_from:])
        rest_from = max(0, rest_from - len(part))
    pieces.append(value[begin_bytes:])
    return b"".join(pieces)
