"""What flows call: a small HTTP server on this machine that stands for the outside world."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs


class _Handler(http.server.BaseHTTPRequestHandler):
    """A joke, the weather, an echo, a redirect to the same place under another name, and nothing else."""

    def do_GET(self) -> None:
        if self.path == "/joke":
            self._answer(200, {"value": {"joke": "a joke about webhooks"}})
        elif self.path.startswith("/weather/"):
            self._answer(200, {"weather": "sunny"})
        elif self.path.startswith("/seen"):
            self._answer(
                200, {"path": self.path, "headers": {name.lower(): self.headers[name] for name in self.headers}}
            )
        elif self.path == "/untyped":
            self._answer(200, {"a": [1]}, content_type="")
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.connection.getsockname()[1]}/joke")
            self.end_headers()
        else:
            self._answer(404, {"error": "nothing here"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        extra = self.headers.get("X-Extra")
        kind = self.headers.get("Content-Type")
        self._answer(200, {"method": "POST", "body": body, "extra": extra, "type": kind, "form": parse_qs(body)})

    def _answer(self, status: int, value: Any, content_type: str = "application/json") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        if self.path.startswith("/seen"):
            self.send_header("Set-Cookie", "session=abc; Path=/; HttpOnly")
            self.send_header("Set-Cookie", "theme=dark")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def serve_outside() -> Iterator[str]:
    """The server's URL, while it runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
