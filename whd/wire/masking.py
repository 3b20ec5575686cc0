"""What stands for a part of a child's input that is not written down, and which headers always are such parts."""

from __future__ import annotations

MASK = "***"

# Request headers that prove who sends a request, in lower case (RFC 9110, 11.6.2 and 11.7.2; RFC 6265; the last by
# custom).
MASKED_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

# Where a protected part stands in the JSON text of an input: start and length in bytes; and whether its texts are to be
# masked wherever else the execution shows them, which are those that a flow named itself.
MaskedPart = tuple[int, int, bool]
