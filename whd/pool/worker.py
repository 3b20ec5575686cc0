"""The daemon's handle on one worker process: its socket, its death, its CPU clock.

A worker belongs for life to one binding (client, user, limits that the kernel keeps). Reading and writing never block:
what the process does not take waits in a buffer here, and what it sends is cut into frames with a size limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..model.budget import BufferBudget
from ..wire.frames import FrameError, FrameReader

if TYPE_CHECKING:
    from .line import Line

READ_BYTES = 262_144
# What one turn of the loop takes of a process: of small frames not too many, of a large one as much as there is.
READ_SMALL_BYTES = 32_768
# Frames of less in all are put together for one system call; more costs less in several.
JOINED_BYTES = 262_144
# Of what is written in parts, so many to a system call; 1,024 are allowed (IOV_MAX).
MOST_PARTS = 64
COUNTED_FROM_BYTES = 65_536
# One for all: a read is taken out before the next one. A fresh object of this size would be a mmap(2) for each read.
_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)


class Binding(NamedTuple):
    """What a worker is bound to for life. `purpose`: "run", or "compile" and "parse" for our own.

    `is_large`: for large inputs. It gives way to all others on a busy core, which would otherwise wait for it time and
    again, and keeps memory that was freed for the next one.
    """

    purpose: str
    client_name: str
    user_name: str
    memory_bytes: int
    is_large: bool = False


class WorkerState(enum.Enum):
    """Where a worker stands."""

    FORKING = "asked for"
    SPARE = "walled in, not bound yet"
    IDLE = "bound, waits for a job"
    BUSY = "has a job"
    DEAD = "gone, or killed"


class Worker:
    """One process. `on_frame` gets each frame, `on_fault` what ended the connection.

    Everybody may read its public attributes. Written elsewhere are only, each group by one module: what processes.py
    keeps of it (`state` to `exit_status`), and `line`, what it runs, by line.py.
    """

    __slots__ = (
        "_budget", "_counted_bytes", "_held", "_loop", "_on_fault", "_on_frame", "_out", "_reader", "_socket",
        "_writing", "binding", "buffer_bytes", "cpu_clock", "exit_status", "fault", "frames_left", "idle_cpu_s",
        "idle_since", "is_retired", "jobs_done", "line", "number", "pending_bytes", "pidfd", "state",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        ours: socket.socket,
        budget: BufferBudget,
        on_frame: Callable[[Worker, bytes | bytearray], None],
        on_fault: Callable[[Worker], None],
    ) -> None:
        self._loop = loop
        self._budget = budget
        self._on_frame = on_frame
        self._on_fault = on_fault
        self._counted_bytes = 0
        # How many frames of the present read are still to be looked at.
        self.frames_left = 0
        self._socket: socket.socket | None = ours
        # What the process need not have read for us to write it: the system may allow little (net.core.wmem_max).
        self.buffer_bytes = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        # What the process has not taken yet, in order: views, so that nothing large is copied for being sent in parts.
        self._out: deque[memoryview] = deque()
        self._held: list[bytes | bytearray] = []
        self._writing = False
        self.number = number
        # Whether it is to be replaced once what it does is done.
        self.is_retired = False
        self.pidfd = -1
        self.cpu_clock = 0
        self.fault = ""
        # A process that has nothing to do has nothing to say.
        self._reader = FrameReader(0)
        # How much of an unfinished frame is held.
        self.pending_bytes = 0

        self.state = WorkerState.FORKING
        self.binding: Binding | None = None
        self.jobs_done = 0
        self.idle_since = 0.0
        self.idle_cpu_s = 0.0
        self.exit_status: int | None = None

        # Of a process that runs flows.
        self.line: Line | None = None

    def attach(self, pidfd: int) -> None:
        """The process runs: watch its socket."""
        self.pidfd = pidfd
        self.cpu_clock = _cpu_clock_of(pidfd)
        if self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def expect(self, limit_bytes: int) -> None:
        """How large a frame the process may send from now on."""
        self._reader.limit_bytes = limit_bytes

    def retire(self) -> None:
        """The process is not to be used again after what it does now."""
        self.is_retired = True

    def cpu_s(self) -> float:
        """CPU seconds that the process has used in its life, measured from outside; -1 once it is gone."""
        if not self.cpu_clock:
            return -1.0
        try:
            return time.clock_gettime(self.cpu_clock)
        except OSError:
            return -1.0

    def hold(self, frame: bytes | bytearray) -> None:
        """Keeps a frame, or a part of one, until the next `send` or `flush`, which writes all of them at once."""
        self._held.append(frame)

    def flush(self) -> None:
        """Writes what is held."""
        held = self._held
        if held:
            self._held = []
            if sum(map(len, held)) < JOINED_BYTES:
                self._write(held[0] if len(held) == 1 else b"".join(held))
            elif self._socket is not None:
                self._out.extend(map(memoryview, held))
                if not self._writing:
                    self._write_out()

    def send(self, frame: bytes) -> None:
        """Writes a frame after what is held, or as much as the process takes now and the rest later."""
        if self._held:
            self._held.append(frame)
            self.flush()
        else:
            self._write(frame)

    def _write(self, data: bytes | bytearray) -> None:
        if self._socket is None:
            return
        sent = 0
        if not self._out:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
            except OSError:
                return  # it has ended; what it sent before is still to be read, and then its end
            if sent == len(data):
                return
        self._out.append(memoryview(data)[sent:])
        if not self._writing:
            self._watch_writing(self._socket)

    def _watch_writing(self, ours: socket.socket) -> None:
        self._writing = True
        self._loop.add_writer(ours.fileno(), self._write_out)

    @property
    def has_unsent(self) -> bool:
        """Whether something still waits here for the process to take it."""
        return bool(self._out)

    @property
    def is_between_frames(self) -> bool:
        """Whether all that is for it is sent, and all that it has sent is looked at."""
        return not (self._out or self.frames_left or self.pending_bytes)

    def _write_out(self) -> None:
        """Writes as much of what waits as the process takes now."""
        if self._socket is None:
            return
        out = self._out
        try:
            sent = self._socket.sendmsg(list(islice(out, MOST_PARTS)))
        except BlockingIOError:
            sent = 0
        except OSError:
            out.clear()  # as in _write
        while out and sent >= len(out[0]):
            sent -= len(out.popleft())
        if out:
            out[0] = out[0][sent:]
            if not self._writing:
                self._watch_writing(self._socket)
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> int:
        """Reads once: how many bytes, 0 when there is nothing more for now."""
        ours = self._socket
        if ours is None:
            return 0
        try:
            is_large = self.pending_bytes >= READ_SMALL_BYTES
            size = ours.recv_into(_buffer, READ_BYTES if is_large else READ_SMALL_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            size = 0  # ECONNRESET: it ended with something unread
        if not size:
            self._broken("")
            return 0
        try:
            frames = self._reader.feed(_view[:size].tobytes())
        except FrameError as error:
            self._broken(str(error))
            return 0
        on_frame = self._on_frame
        if not self._count_pending():
            self._broken("it holds more unfinished frames than max_buffered_bytes leaves room for")
            return 0
        self.frames_left = len(frames)
        for payload in frames:
            if self._socket is None:
                return 0
            self.frames_left -= 1
            on_frame(self, payload)
        return size

    def _count_pending(self) -> bool:
        """Counts what is held of an unfinished frame, if it is much, against what the daemon may hold in all."""
        self.pending_bytes = pending = self._reader.pending_bytes
        if pending <= COUNTED_FROM_BYTES:
            pending = 0
        change = pending - self._counted_bytes
        if change > 0 and not self._budget.take(change):
            return False
        if change < 0:
            self._budget.give(-change)
        self._counted_bytes = pending
        return True

    def read_last(self) -> None:
        """Takes what the process has sent by now: no more than fits into its socket, however fast it writes on."""
        if self._socket is None:
            return
        # Both ends have the system's default, and a process behind the wall cannot change its own (socket(7)). The
        # last write may go past it.
        left = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) + READ_SMALL_BYTES
        while left > 0 and (size := self._on_readable()):
            left -= size

    def _broken(self, fault: str) -> None:
        self.fault = self.fault or fault
        self.close_socket()
        self._on_fault(self)

    def close_socket(self) -> None:
        """No more frames in either direction."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            if self._writing:
                self._loop.remove_writer(self._socket.fileno())
                self._writing = False
            self._out.clear()
            self._held.clear()
            self._budget.give(self._counted_bytes)
            self._counted_bytes = 0
            self._socket.close()
            self._socket = None

    def kill(self) -> None:
        """SIGKILL by pidfd (pidfd_send_signal(2)): never another process that got the same pid."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def release(self) -> None:
        """The process is gone: gives back what the handle holds."""
        self.close_socket()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _cpu_clock_of(pidfd: int) -> int:
    """The clock id of the process's CPU time (clock_getcpuclockid(3)), 0 if it is gone already.

    Its pid as we see it is in proc(5), fdinfo: the zygote, in a pid namespace of its own, sees another one.
    """
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                pid = int(line.split()[1])
                # The kernel's CPUCLOCK_SCHED of a whole process: (~pid << 3) | 2, include/linux/posix-timers.h.
                return (~pid << 3) | 2 if pid > 0 else 0
    return 0


def death_text(worker: Worker) -> str:
    """What ended a worker's process, in words for the flow's author."""
    if worker.fault:
        return f"the worker broke its protocol: {worker.fault}"
    status = worker.exit_status
    if status is None:
        return "the flow's process ended unexpectedly"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = _SIGNALS.get(number, "")
        return f"the flow's process was ended by signal {number}{hint}"
    return f"the flow's process ended unexpectedly with status {os.waitstatus_to_exitcode(status)}"


_SIGNALS = {
    6: " (SIGABRT: the interpreter gave up, often for want of memory)",
    9: " (SIGKILL: from outside, or the kernel was out of memory)",
    11: " (SIGSEGV: the interpreter crashed)",
    24: " (SIGXCPU: the kernel's limit of CPU time)",
    31: " (SIGSYS: a system call that the sandbox forbids)",
}
