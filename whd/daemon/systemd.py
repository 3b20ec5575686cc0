"""What whd and systemd say to each other: readiness, sockets that systemd opened. Standard library only.

sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), systemd.service(5), systemd.socket(5). All variables are taken
out of the environment when they are read: they are meant for this process, not for what it starts.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

from ..errors import ConfigError

_log = logging.getLogger(__name__)

LISTEN_FDS_START = 3

# How long a message may wait for room in systemd's queue. It has room, unless systemd itself hangs.
_SEND_S = 0.2


class Notifier:
    """Tells systemd how the service does; does nothing where nobody asked ($NOTIFY_SOCKET unset).

    No method raises: a service manager that does not listen is no reason to stop serving. Each returns whether the
    message was sent. `watchdog_s`: how long systemd waits for `watchdog`, 0 if it does not; call it twice as often.
    """

    def __init__(self, address: str | bytes | None = None, watchdog_s: float = 0.0) -> None:
        self._address = address
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """As the environment asks for it; takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of it."""
        name = environ.pop("NOTIFY_SOCKET", "")
        watchdog_s = _watchdog_s(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        if name.startswith("/"):
            return cls(name, watchdog_s)
        if name.startswith("@"):
            # unix(7): a name in the abstract namespace starts with a zero byte.
            return cls(b"\0" + os.fsencode(name[1:]), watchdog_s)
        if name:
            _log.warning(
                "NOTIFY_SOCKET is of a kind that whd does not know (known: /path, @abstract); systemd is not told"
            )
        return cls()

    def ready(self, status: str = "") -> bool:
        """The service is up, or has finished a reload."""
        return self._send("READY=1", status)

    def reloading(self) -> bool:
        """A reload begins; `ready` ends it. The time tells systemd 253+ which of the two came last."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> bool:
        """The service is on its way down."""
        return self._send("STOPPING=1", status)

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send("", text)

    def watchdog(self) -> bool:
        """The service is alive."""
        return self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Asks for that much more time, from now, to start or to stop; longer than the unit's own time-out needs it."""
        return self._send(f"EXTEND_TIMEOUT_USEC={max(0, round(seconds * 1_000_000))}")

    def close(self) -> None:
        """Closes the socket; later messages open another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, assignments: str, status: str = "") -> bool:
        if self._address is None:
            return False
        lines = [assignments] if assignments else []
        if status:
            # A line break would start an assignment of its own.
            lines.append("STATUS=" + " ".join(status.split()))
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.settimeout(_SEND_S)
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            _log.debug("systemd could not be told %s: %s", lines, error)
            return False
        return True


def _watchdog_s(microseconds: str, pid: str) -> float:
    """sd_watchdog_enabled(3): meant for this process if WATCHDOG_PID is unset or its own."""
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1_000_000


@dataclass(frozen=True, slots=True)
class ListenSocket:
    """A listening socket that systemd opened, and the FileDescriptorName= of its unit."""

    name: str
    socket: socket.socket


def take_listen_sockets(environ: MutableMapping[str, str] = os.environ) -> list[ListenSocket]:
    """The sockets of socket activation, non-blocking and close-on-exec; none where there are none.

    Takes LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES out of the environment. The caller closes the sockets. Raises
    ConfigError if what was passed cannot be served.
    """
    count_text = environ.pop("LISTEN_FDS", "")
    pid = environ.pop("LISTEN_PID", "")
    names_text = environ.pop("LISTEN_FDNAMES", "")
    environ.pop("LISTEN_PIDFDID", "")
    if pid != str(os.getpid()):
        return []  # sd_listen_fds(3): meant for another process
    if not count_text.isdecimal():
        raise ConfigError(f"LISTEN_FDS={count_text!r} is no number of sockets")
    count = int(count_text)
    names = names_text.split(":") if names_text else []
    names += [""] * (count - len(names))
    taken: list[ListenSocket] = []
    try:
        for descriptor, name in zip(range(LISTEN_FDS_START, LISTEN_FDS_START + count), names, strict=False):
            taken.append(ListenSocket(name, _listening(descriptor, name)))
    except ConfigError:
        for entry in taken:
            entry.socket.close()
        raise
    return taken


def _listening(descriptor: int, name: str) -> socket.socket:
    what = f"descriptor {descriptor} ({name or 'unnamed'}) of socket activation"
    try:
        opened = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"{what} is no socket: {error.strerror}") from None
    try:
        if opened.type != socket.SOCK_STREAM or not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigError(f"{what} does not listen for streams; in the socket unit use ListenStream= and Accept=no")
        if opened.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise ConfigError(f"{what} is neither IP nor a unix socket")
        opened.set_inheritable(False)
        opened.setblocking(False)
    except ConfigError:
        opened.close()
        raise
    return opened
