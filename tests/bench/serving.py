"""A server whose answers a test decides, on a thread of its own; and the floors, started as in a measurement."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator

CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")

# Given the number of a request (from 0, over all connections) and its JSON body: the bytes of the answer, or None to
# close the connection instead.
Behaviour = Callable[[int, dict[str, object]], bytes | None]


def answer(document: object, status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    body = json.dumps(document).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def right(body: dict[str, object]) -> dict[str, object]:
    """The job done, as a floor does it."""
    given = {name: value for name, value in body.items() if name != "key"}
    items: list[dict[str, float]] = body["items"]  # type: ignore[assignment]
    return {
        "status": "ENDED_SUCCESS",
        "input_value": {"headers": {"content-type": "application/json"}, "json": given},
        "output_value": {
            "greeting": f"Hello {body['name']}",
            "total": sum(item["qty"] * item["price"] for item in items),
        },
    }


@contextlib.contextmanager
def server(behave: Behaviour, heads: list[bytes] | None = None) -> Iterator[int]:
    """Serves on 127.0.0.1, a thread for each connection; gives the port. All threads have ended afterwards.

    `heads`: takes the head of each request, as it came.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    lock = threading.Lock()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []
    count = 0

    def one_connection(connection: socket.socket) -> None:
        nonlocal count
        with connection, contextlib.suppress(OSError):
            held = b""
            while True:
                head, complete, body = held.partition(b"\r\n\r\n")
                if complete and len(body) >= (length := int(CONTENT_LENGTH.findall(head)[0])):
                    held = body[length:]
                    with lock:
                        number, count = count, count + 1
                        if heads is not None:
                            heads.append(head)
                    reply = behave(number, json.loads(body[:length]))
                    if reply is None:
                        return
                    connection.sendall(reply)
                    continue
                data = connection.recv(65_536)
                if not data:
                    return
                held += data

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                thread = threading.Thread(target=one_connection, args=(connection,))
                threads.append(thread)
                thread.start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # shutdown wakes what waits in accept and recv; close alone does not.
        for sock in (listener, *connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for thread in threads:
            thread.join()
