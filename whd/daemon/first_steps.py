"""What a start says at its end: a webhook that can be called, how, and where to look next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from ..admin.client import base_url


def first_steps(
    example: dict[str, Any] | None, addresses: Sequence[str], command_line: Callable[[str], str]
) -> list[str]:
    """Lines for people. `example`: of the operation `webhooks.example`; `command_line`: Paths.command_line."""
    if not addresses:
        return []
    if example is None:
        return [f"no webhook can be called yet; which there are, and why not: {command_line('webhooks')}"]
    return [
        f"call a webhook: {curl_line(example, addresses)}{_where_the_key_is(example)}",
        f"see what ran: {command_line('executions list')}",
        f"see all webhooks: {command_line('webhooks')}",
    ]


def curl_line(example: dict[str, Any], addresses: Sequence[str]) -> str:
    """The call, for a shell. No log holds a key: $KEY stands for it."""
    words = ["curl"]
    if addresses[0].startswith("unix:"):
        words += ["--unix-socket", shlex.quote(addresses[0].removeprefix("unix:"))]
    if example["key_required"]:
        words.append('-H "X-Webhook-Key: $KEY"')
    if "GET" not in example["methods"]:
        words += ["-d", "'{}'"]
    return " ".join([*words, f"{base_url(addresses)}/api/webhook/{example['client']}/{example['webhook']}"])


def _where_the_key_is(example: dict[str, Any]) -> str:
    return f" (KEY: the key in {example['path']})" if example["key_required"] else ""
