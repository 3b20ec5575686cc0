"""A plain blocking client over a socket, which sends whatever bytes it is given."""

from __future__ import annotations

import socket

PATIENCE_S = 10


class Answer:
    """One answer as a client reads it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.body = body


class Client:
    """A blocking client that reads answers by their length."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE_S)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def shut(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 20)
        self._buffer += data
        return data

    def answer(self, *, has_body: bool = True) -> Answer:
        while b"\r\n\r\n" not in self._buffer:
            assert self._more(), f"closed after {self._buffer!r}"
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        answer = Answer(head, b"")
        length = int(answer.fields.get("content-length", 0)) if has_body else 0
        while len(self._buffer) < length:
            assert self._more(), "closed within a body"
        answer.body, self._buffer = self._buffer[:length], self._buffer[length:]
        return answer

    def rest(self) -> bytes:
        """Everything until the server closes."""
        while self._more():
            pass
        return self._buffer

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
