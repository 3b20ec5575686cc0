"""An outgoing HTTP client that reaches nobody: the test answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whd.rest import RestLimits, RestRequest, RestResult
from whd.rest.client import Authorize, Outcome


@dataclass(eq=False)
class FakeRestCall:
    """A call under way."""

    request: RestRequest
    authorize: Authorize
    limits: RestLimits
    done: Callable[[Outcome], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def finish(self, outcome: Outcome) -> None:
        """It came to this; nobody hears of it once it was cancelled."""
        if not self.is_cancelled:
            self.done(outcome)

    def respond(self, status_code: int = 200, body: bytes = b"", content_type: str = "application/json") -> None:
        """The other side's answer."""
        is_expected = status_code in self.request.expected_status_codes
        headers = (("content-type", content_type),)
        shown = f"{self.request.method} {self.request.url}"
        self.finish(RestResult(status_code, headers, body, is_expected, self.request.url, shown))


class FakeRestClient:
    """RestClient. `calls`: all that were started."""

    def __init__(self) -> None:
        self.calls: list[FakeRestCall] = []

    def start(
        self, request: RestRequest, authorize: Authorize, limits: RestLimits, done: Callable[[Outcome], None]
    ) -> FakeRestCall:
        self.calls.append(FakeRestCall(request, authorize, limits, done))
        return self.calls[-1]
