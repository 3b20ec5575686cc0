"""Answers of handshakes: no flow, no record, at most MOST_PER_MINUTE for a webhook (SENDERS 7)."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..errors import HttpError
from ..http.messages import Response
from ..model.snapshot import Webhook
from ..senders.handshakes import Request

MOST_PER_MINUTE: Final = 10
_MINUTE_S: Final = 60.0

log = logging.getLogger("whd.handlers")


class RateLimited(HttpError):
    """More than a limit allows, of one thing and in its time."""

    status, code, title = 429, "rate_limited", "Too Many Requests"


class Handshakes:
    """Answers them and counts them, for one process. `total`: since the start."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._times: dict[tuple[str, str], deque[float]] = {}
        self.total = 0

    def response(self, webhook: Webhook, request: Request) -> Response | None:
        """The answer; None if the request is no handshake. Raises HttpError."""
        assert webhook.handshake is not None
        row = webhook.handshake.handshake
        reply = row.reply(request) if row.is_asked(request) else None
        if reply is None:
            return None
        now = self._now()
        times = self._times.setdefault((webhook.client_name, webhook.name), deque(maxlen=MOST_PER_MINUTE))
        if len(times) == MOST_PER_MINUTE and now - times[0] < _MINUTE_S:
            wait_s = int(times[0] + _MINUTE_S - now) + 1
            detail = f"more than {MOST_PER_MINUTE} handshakes a minute"
            raise RateLimited(detail, headers=((b"retry-after", b"%d" % wait_s),))
        times.append(now)
        self.total += 1
        log.info("handshake %s of %s: %s answered", row.name, webhook.client_name, webhook.name)
        return Response(reply.status, reply.headers, reply.body)
