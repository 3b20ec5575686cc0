"""The operations on webhooks: which there are, whether a call of each would run, and why not.

Of the snapshot that serves where a daemon runs; of the files where none does (commands/checking.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ..auth.callers import KeyCheck, OpenCheck
from ..auth.permissions import Action, may
from ..engine.engine import Engine
from ..futures import value_of
from ..model.snapshot import BrokenWebhook, Client, Flow, Snapshot, Webhook
from ..pool.compiler import Code, refusal_faults

ON, OFF, BROKEN = "on", "off", "broken"


class WebhookOperations:
    """By the name that commands use; for Admin's table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.table: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "webhooks": self._list,
            "webhooks.example": self._example,
        }

    async def _list(self, _arguments: dict[str, Any]) -> Any:
        """All of them."""
        snapshot = self._engine.snapshot
        flows = flows_of(snapshot)
        codes = await asyncio.gather(*map(self._compiled, flows))
        return rows(snapshot, dict(zip(flows, codes, strict=True)))

    async def _example(self, _arguments: dict[str, Any]) -> Any:
        """One for a first call, null if a call of none would run: rather without a key, rather one that only GET calls.

        Its row, with `methods`, and `path`: where its setting stands. What asks for more than a key is none for a first
        call.
        """
        snapshot = self._engine.snapshot
        candidates = [
            (client, webhook)
            for client in snapshot.clients.values()
            for webhook in client.webhooks.values()
            if isinstance(webhook, Webhook)
            and isinstance(webhook.caller_check, (OpenCheck, KeyCheck))
            and why_not(client, webhook)[0] == ON
        ]
        candidates.sort(key=_preference)
        for client, webhook in candidates:
            flow = client.flows[webhook.flow_name]
            found = _row(client, webhook, {flow: await self._compiled(flow)})
            if found["state"] == ON:
                return {**found, "methods": list(webhook.methods), "path": webhook.path}
        return None

    async def _compiled(self, flow: Flow) -> Code:
        code: Code = await value_of(partial(self._engine.pool.compiler.compile, flow))
        return code


def _preference(candidate: tuple[Client, Webhook]) -> tuple[bool, bool, str, str]:
    client, webhook = candidate
    return webhook.caller_check.key_required, "POST" in webhook.methods, client.name, webhook.name


def flows_of(snapshot: Snapshot) -> list[Flow]:
    """The flows whose code decides whether a call of some webhook would run, each once."""
    found = {
        client.flows[webhook.flow_name]: None
        for client in snapshot.clients.values()
        for webhook in client.webhooks.values()
        if isinstance(webhook, Webhook) and why_not(client, webhook)[0] == ON
    }
    return list(found)


def rows(snapshot: Snapshot, codes: Mapping[Flow, Code]) -> list[dict[str, Any]]:
    """A row for each webhook, by client and name; `codes`: of the flows that flows_of names."""
    return [
        _row(client, webhook, codes)
        for _, client in sorted(snapshot.clients.items())
        for _, webhook in sorted(client.webhooks.items())
    ]


def _row(client: Client, webhook: Webhook | BrokenWebhook, codes: Mapping[Flow, Code]) -> dict[str, Any]:
    state, why = why_not(client, webhook)
    good = webhook if isinstance(webhook, Webhook) else None
    if good is not None and state == ON:
        flow = client.flows[good.flow_name]
        if refusal := codes[flow].refusal:
            state, why = BROKEN, f"503: {refusal_faults(flow, refusal)[0]}"
    return {
        "client": client.name,
        "webhook": webhook.name,
        "flow_name": None if good is None else good.flow_name,
        "user_name": None if good is None else good.user_name,
        "key_required": None if good is None else good.caller_check.key_required,
        "enabled": False if good is None else good.enabled,
        "state": state,
        "why_not": why or None,
    }


def why_not(client: Client, webhook: Webhook | BrokenWebhook) -> tuple[str, str]:
    """ON, OFF or BROKEN, as the settings have it, and why not ON: what the caller would be answered, and its reason."""
    if not isinstance(webhook, Webhook):
        return BROKEN, f"503: {webhook.path} has no good version"
    if not webhook.enabled:
        return OFF, "404: enabled is false"
    user = client.users.get(webhook.user_name)
    if user is None:
        return BROKEN, f"503: there is no user {webhook.user_name}"
    if webhook.flow_name not in client.flows:
        return BROKEN, f"503: there is no flow {webhook.flow_name}"
    if not may(user, Action.RUN_FLOW, webhook.flow_name):
        return BROKEN, f"403: the user {user.name} may not run the flow {webhook.flow_name}"
    return ON, ""
