"""How an accepted connection travels from the hub to a front: a byte with a descriptor beside it (unix(7), SCM_RIGHTS).

The byte says by number which listener accepted it, so that the front serves what belongs there, and whether it is one
too many. It is one byte because the socket is a stream, which may part two.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..http.listeners import PUBLIC, ListenAddress

MAX_NAMES: Final = 128
_REFUSED: Final = 0x80
_DESCRIPTOR_BYTES: Final = 4


class HandedOver(NamedTuple):
    """A connection that came, `sock` None if no descriptor was left for it. `listener` counts in `listener_names`."""

    listener: int
    is_refused: bool
    sock: socket.socket | None


def listener_names(addresses: Iterable[ListenAddress]) -> tuple[str, ...]:
    """The names by number. A name that got no number for want of room counts as number 0, the public one."""
    return tuple(dict.fromkeys([PUBLIC, *(address.name for address in addresses)]))[:MAX_NAMES]


def send_connection(queue: socket.socket, sock: socket.socket, listener: int, *, is_refused: bool = False) -> None:
    """Hands a connection over; the caller still closes its own descriptor. Raises OSError."""
    socket.send_fds(queue, [bytes((listener | (_REFUSED if is_refused else 0),))], [sock.fileno()])


def receive_connections(queue: socket.socket) -> Iterator[HandedOver | None]:
    """What has been handed over by now. Ends with None once the other end is closed."""
    while True:
        try:
            data, ancillary, _flags, _address = queue.recvmsg(
                1, socket.CMSG_SPACE(_DESCRIPTOR_BYTES), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        if not data:
            yield None
            return
        sock = None
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                sock = socket.socket(fileno=int.from_bytes(value[:_DESCRIPTOR_BYTES], sys.byteorder))
        yield HandedOver(data[0] & ~_REFUSED, bool(data[0] & _REFUSED), sock)
