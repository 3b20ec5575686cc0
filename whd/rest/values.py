"""What an outgoing call is made of: request, limits, result, errors. Frozen values; nothing here does I/O.

Headers, bodies and queries may hold secrets: none of them is in a repr or in an error's text.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

HeaderFields = tuple[tuple[str, str], ...]

EXPECTED_STATUS_CODES = (200, 201, 202, 204)
MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class RestRequest:
    """What a flow asks for. `method` in upper case; header names as given, values checked; `body` None for none.

    `timeout_s`: None for no limit of its own. `follows_redirects` False: a redirect is the answer; `max_redirects`:
    how many are followed otherwise.
    """

    method: str
    url: str = field(repr=False)
    headers: HeaderFields = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    expected_status_codes: tuple[int, ...] = EXPECTED_STATUS_CODES
    timeout_s: float | None = None
    follows_redirects: bool = True
    max_redirects: int = MAX_REDIRECTS


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one call may take: seconds in all, redirects included; bytes of the answer's body; redirects."""

    timeout_s: float = 30.0
    max_body_bytes: int = 8_388_608
    max_redirects: int = MAX_REDIRECTS


@dataclass(frozen=True, slots=True)
class RestResult:
    """The answer. `headers` in order of arrival, names in lower case; `url` that it came from.

    `is_expected`: the status is one of those that the request expects. `shown` names the call for messages.
    """

    status_code: int
    headers: HeaderFields = field(repr=False)
    body: bytes = field(repr=False)
    is_expected: bool
    url: str = field(repr=False)
    shown: str
    expected_status_codes: tuple[int, ...] = EXPECTED_STATUS_CODES

    @property
    def message(self) -> str:
        """The child execution's message: what came, and what was expected if it was not that."""
        came = f"{self.shown}: status {self.status_code}"
        if self.is_expected:
            return came
        expected = " or ".join(map(str, self.expected_status_codes))
        return f"{came} was not expected (expected_status_code: {expected})"


class RestFault(enum.StrEnum):
    """Why a call got no answer."""

    ADDRESS_REFUSED = "address refused"
    NAME_NOT_FOUND = "name not found"
    NOT_CONNECTED = "not connected"
    CERTIFICATE = "certificate not verified"
    TLS = "TLS failed"
    TIMEOUT = "timed out"
    PROTOCOL = "not HTTP"
    TOO_LARGE = "too large"
    REDIRECTS = "too many redirects"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"


class RestError(Exception):
    """A call got no answer. `str(error)` is for the flow's author: the call, what happened, the limit if there is one.

    ADDRESS_REFUSED is a refusal by permission: the host's name was allowed, what it stands for was not.
    """

    def __init__(self, fault: RestFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault
