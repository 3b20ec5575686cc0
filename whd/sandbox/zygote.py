"""The zygote: a clean Python that has loaded all that flows need, walls itself in, and forks workers on request.

It is exec'ed afresh by the daemon (launch.py), so that no secret was ever in its memory, runs nothing of a flow, has
one thread, and never blocks on the daemon: what the daemon does not take at once waits here.

Messages are one JSON text each over the SOCK_SEQPACKET socket that is descriptor 3, descriptors ride along:

in    {"op": "fork", "worker": 12} + the worker's end of a stream socket
out   {"op": "ready", "layers": [{"name", "engaged", "reason"}…], "failures": [what the canary could do]}   once, first
      {"op": "forked", "worker": 12, "pid": 34} + a pidfd (pid_namespaces(7): the pid is the namespace's own)
      {"op": "fork_failed", "worker": 12, "reason": "…"}
      {"op": "exited", "worker": 12, "status": 9}   as waitpid(2) gives it
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import warnings
from collections import deque
from typing import Any, NoReturn

from ..errors import way_out
from . import isolation, modules, worker
from .frozen_types import freeze_types
from .isolation import probe
from .plain_texts import hide_addresses
from .warming import warm_ways

CONTROL_FD = 3
MAX_MESSAGE_BYTES = 65_536
# What asks the daemon to reload or to drain, and may be sent to every process of a service (`systemctl kill`): it must
# end neither this process nor a worker, which inherits this. They end with the daemon.
DAEMON_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# So many are forked, then reported together, before the loop looks at other events.
FORKS_AT_ONCE = 8
BATCHES_AT_ONCE = 8


def main() -> NoReturn:
    """The zygote's life: argv[1] is a JSON object with the settings {"wall": {…}}."""
    for number in DAEMON_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    settings = json.loads(sys.argv[1])
    wall = settings.get("wall", {})
    _warm_up()
    gc.collect()
    reports = isolation.wall_zygote(wall)
    # Copy on write: a collection in a worker does not touch the pages that all share.
    gc.freeze()
    zygote = Zygote(socket.socket(fileno=CONTROL_FD), wall)
    zygote.tell({"op": "ready", **_prove(wall, reports)})
    zygote.serve()


def _warm_up() -> None:
    hide_addresses()  # first: it has the interpreter forget what it knows of all classes
    warnings.simplefilter("ignore")  # nobody reads them, and Python remembers each that was shown
    modules.warm_up()
    modules.fast_names()
    modules.offered_classes()
    freeze_types(modules.packages())
    warm_ways()


def _prove(wall: dict[str, Any], reports: list[isolation.LayerReport]) -> dict[str, Any]:
    """All layers' reports, the workers' layers from a first worker, and what the canary could do despite them."""
    try:
        first = probe.run_in_worker(wall, lambda of_worker: [tuple(report) for report in of_worker])
        of_worker = [isolation.LayerReport(*report) for report in first.answer or ()]
        failures = isolation.canary(wall, reports)
    except OSError as error:
        of_worker, failures = [], [f"no worker can be forked: {error}{way_out(error)}"]
    layers = isolation.summary([*reports, *of_worker], isolation.REQUIRABLE)
    return {"layers": [report._asdict() for report in layers], "failures": failures}


class Zygote:
    """The loop: requests in, forks, deaths out."""

    def __init__(self, control: socket.socket, wall: dict[str, Any]) -> None:
        self._control = control
        self._wall = wall
        self._workers: dict[int, int] = {}
        # What the daemon has not taken yet: text and, with "forked", a pidfd.
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._woken, self._waker = socket.socketpair()
        for end in (control, self._woken, self._waker):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake_only)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Serves until the daemon is gone; then every worker ends, and this process."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        while True:
            # A daemon that takes no answers gets no more forks either.
            poll.register(self._control, select.POLLOUT if self._waiting else select.POLLIN)
            poll.poll()
            self._drain_wakes()
            self._reap()
            self._send_waiting()
            if not self._waiting:
                self._read_requests()

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Sends a message, or keeps it until the daemon takes it. Closes the descriptors afterwards."""
        self._waiting.append((json.dumps(message).encode("ascii"), list(descriptors)))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            text, descriptors = self._waiting[0]
            try:
                socket.send_fds(self._control, [text], descriptors)
            except BlockingIOError:
                return
            except OSError:
                self._end()
            for descriptor in descriptors:
                os.close(descriptor)
            self._waiting.popleft()

    def _read_requests(self) -> None:
        for _ in range(BATCHES_AT_ONCE):
            requests = self._next_requests()
            if not requests:
                return
            self._fork_all(requests)

    def _next_requests(self) -> list[tuple[int, int]]:
        """Worker numbers, each with its end of the stream socket."""
        requests: list[tuple[int, int]] = []
        while len(requests) < FORKS_AT_ONCE:
            try:
                text, descriptors, _flags, _address = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 1)
            except BlockingIOError:
                break
            except OSError:
                self._end()
            if not text:
                self._end()
            requests.append((json.loads(text)["worker"], descriptors[0]))
        return requests

    def _fork_all(self, requests: list[tuple[int, int]]) -> None:
        """Forks for all, and only then does what each fork brings with it.

        After a fork the first write to a page copies it, here as well: as little as possible is done between two forks.
        """
        outcomes = []
        for _number, stream_fd in requests:
            try:
                pid = os.fork()
            except OSError as error:
                outcomes.append((0, f"fork: {error.strerror}{way_out(error)}"))
                continue
            if pid == 0:
                self._become_worker(stream_fd)
            outcomes.append((pid, ""))
        for (number, stream_fd), (pid, reason) in zip(requests, outcomes, strict=True):
            os.close(stream_fd)
            self._tell_of(number, pid, reason)

    def _tell_of(self, number: int, pid: int, reason: str) -> None:
        pidfd = -1
        if pid:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError as error:
                # Without a pidfd the daemon could not end it.
                os.kill(pid, signal.SIGKILL)
                reason = f"pidfd_open: {error.strerror}"
        if reason:
            self.tell({"op": "fork_failed", "worker": number, "reason": reason})
            return
        self._workers[pid] = number
        self.tell({"op": "forked", "worker": number, "pid": pid}, (pidfd,))

    def _become_worker(self, stream_fd: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Their descriptors are about to be closed or taken over; the objects must not close them once more.
        for end in (self._control, self._woken, self._waker):
            end.detach()
        worker.main(stream_fd, self._wall)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._workers.pop(pid, None)
            if number is not None:
                self.tell({"op": "exited", "worker": number, "status": status})

    def _drain_wakes(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            return

    def _end(self) -> NoReturn:
        """The daemon is gone: nobody is left to run for."""
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _wake_only(_number: int, _frame: object) -> None:
    """Python writes to the wake-up descriptor only for signals that have a handler."""
