"""Where the server listens: addresses become listening sockets, listening sockets become connections.

Connections are accepted here and not by the loop's own server, because uvloop closes a listening socket for good when
accept(2) fails, and because a connection too many can then be refused without anything being built for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..errors import ConfigError

BACKLOG = 2048
ACCEPTS_AT_ONCE = 64  # then other connections have their turn
RETRY_S = 1.0
WARNING_INTERVAL_S = 10.0
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))

# accept(2): these speak of the one connection that was next, not of the listener.
_ONE_CONNECTION_FAILED = frozenset(
    (
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.EPERM,
        errno.EPROTO,
    )
)

# The name of a listener that has none of its own.
PUBLIC: Final = "public"

LOG = logging.getLogger("whd.http")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen: `HOST:PORT` (IPv6 in brackets), `unix:/path` or a socket that listens already.

    `name` says what is served there (Server.applications).
    """

    where: str | socket.socket
    name: str = PUBLIC


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket. `inode` is (device, inode) of a unix socket's file that is ours to remove, else None."""

    socket: socket.socket
    address: str
    name: str = PUBLIC
    path: str = ""
    inode: tuple[int, int] | None = None

    def close(self) -> None:
        """Closes the socket and removes its file, unless another one stands there by now."""
        self.socket.close()
        if self.inode is not None:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == self.inode:
                    os.unlink(self.path)


def open_listeners(addresses: Sequence[ListenAddress], unix_mode: int) -> list[Listener]:
    """A listener for each address; several where a host's name stands for several.

    Raises ConfigError; then nothing is left open.
    """
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners += [replace(listener, name=address.name) for listener in _open(address.where, unix_mode)]
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(where: str | socket.socket, unix_mode: int) -> list[Listener]:
    if isinstance(where, socket.socket):
        return [_adopt(where)]
    if where.startswith("unix:"):
        return [_open_unix(where.removeprefix("unix:"), unix_mode)]
    return _open_tcp(where)


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` in its two parts. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"listen: {address!r}: an IPv6 address stands in brackets, as in [::1]:8080")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not host or not is_port:
        raise ConfigError(f"listen: {address!r} is neither HOST:PORT, as in 127.0.0.1:8080, nor unix:/path")
    return host, int(port)


def _open_tcp(address: str) -> list[Listener]:
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"listen: {address}: no address is known for {host!r} ({error})") from None
    listeners: list[Listener] = []
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            # Port 0 means any: the further addresses of the same name take the port that the first one got.
            at = (where[0], port, *where[2:])
            listeners.append(_bind_tcp(socket.AddressFamily(family), at, address))
            port = listeners[0].socket.getsockname()[1]
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bind_tcp(family: socket.AddressFamily, at: tuple[object, ...], address: str) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(at)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"listen: {address}: {_bind_failure(error)}") from None
    return _adopt(sock)


def _bind_failure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there; end it or choose another address"
    if error.errno == errno.EACCES:
        return "not allowed; ports below 1024 and other users' folders need more rights"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; `ip address` lists those that it has"
    return os.strerror(error.errno) if error.errno else str(error)


def _open_unix(path: str, mode: int) -> Listener:
    if not path.startswith("/"):
        raise ConfigError(f"listen: unix:{path}: the path must start with /")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        # Nobody can connect between the two: a bound socket refuses until it listens.
        os.chmod(path, mode)
        sock.listen(BACKLOG)
        made = os.lstat(path)
    except OSError as error:
        sock.close()
        raise ConfigError(f"listen: unix:{path}: {_bind_failure(error)}") from None
    sock.setblocking(False)
    return Listener(sock, f"unix:{path}", path=path, inode=(made.st_dev, made.st_ino))


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody listens on (unix(7): connecting to it is refused)."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # nothing there, or bind() will say what is wrong
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"listen: unix:{path}: a file that is no socket stands there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # EAGAIN: its queue is full, so it is alive
                raise ConfigError(f"listen: unix:{path}: {_bind_failure(error)}") from None
    raise ConfigError(f"listen: unix:{path}: another process listens there; end it or choose another path")


def _adopt(sock: socket.socket) -> Listener:
    """A socket that listens already, by us or handed over by systemd."""
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError("listen: a socket that was handed over does not listen")
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return Listener(sock, f"unix:{os.fsdecode(sock.getsockname())}")
    # tcp(7), socket(7): accepted sockets inherit these, so that none has to be set for each connection.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    host, port = sock.getsockname()[:2]
    return Listener(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class Acceptor:
    """Accepts from one listener and hands each connection over; lives through running out of descriptors.

    One descriptor is kept in reserve. When accept(2) fails for want of one (EMFILE, ENFILE) the reserve is given up,
    the connection is accepted with it, answered by `refuse` and closed: so the queue shrinks, clients learn why, and
    the loop does not spin on a socket that stays readable. Where even that fails, accepting pauses for RETRY_S.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        accepted: Callable[[socket.socket], None],
        refuse: Callable[[socket.socket], None],
    ) -> None:
        """`accepted` and `refuse` own the socket that they are given."""
        self.listener = listener
        self._loop = loop
        self._accepted = accepted
        self._refuse = refuse
        self._reserve = _open_reserve()
        self._retry: asyncio.TimerHandle | None = None
        self._next_warning_at = 0.0
        self._is_closed = False
        loop.add_reader(listener.socket, self._accept)

    def close(self) -> None:
        """Accepts no more and closes the listener."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        else:
            self._loop.remove_reader(self.listener.socket)
        if self._reserve >= 0:
            os.close(self._reserve)
        self.listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                self._accept_one()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _ONE_CONNECTION_FAILED:
                    self._pause(error)
                    return

    def _accept_one(self) -> None:
        try:
            sock, _ = self.listener.socket.accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._reserve < 0:
                raise
        else:
            self._accepted(sock)
            return
        # Linux looks for a descriptor first, so that even an empty queue ends here; the second accept() tells.
        os.close(self._reserve)
        self._reserve = -1
        try:
            sock, _ = self.listener.socket.accept()
            self._warn("no file descriptor is left, connections are refused: raise LimitNOFILE (ulimit -n)")
            self._refuse(sock)
        finally:
            self._reserve = _open_reserve()

    def _pause(self, error: OSError) -> None:
        self._warn(f"cannot accept connections on {self.listener.address}, trying again: {error}")
        self._loop.remove_reader(self.listener.socket)
        self._retry = self._loop.call_later(RETRY_S, self._go_on)

    def _go_on(self) -> None:
        self._retry = None
        if self._reserve < 0:
            self._reserve = _open_reserve()
        self._loop.add_reader(self.listener.socket, self._accept)
        self._accept()

    def _warn(self, text: str) -> None:
        now = self._loop.time()
        if now >= self._next_warning_at:
            self._next_warning_at = now + WARNING_INTERVAL_S
            LOG.warning("%s", text)


def _open_reserve() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
