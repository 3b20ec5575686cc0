"""`whd check` and `whd webhooks`: what config/ and flows/ say."""

from __future__ import annotations

import argparse
from typing import Any

import uvloop

from ..admin import client as control
from ..engine.state import Paths
from ..errors import StateError
from ..model.snapshot import Webhook
from ..saved import read_settings
from ..settings.index import Index
from . import explain, tables
from .checking import check_everything
from .printing import FAULT, OK, print_json, print_table, say, warn


def check(paths: Paths, given: argparse.Namespace) -> int:
    """Validates everything, flows compiled included; warnings do not count as faults."""
    checked = uvloop.run(check_everything(paths))
    faults = checked.faults
    if given.json:
        documents = [_fault_document(fault) for fault in faults]
        webhooks = [one.document() for one in checked.webhooks]
        print_json({"faults": documents, "webhooks": webhooks} if given.verbose else documents)
    else:
        for fault in faults:
            say(str(fault))
        if given.verbose:
            for one in checked.webhooks:
                for line in ["", *explain.in_full(one)]:
                    say(line)
        else:
            # Not on standard output, which has a line for each fault and nothing else.
            for line in explain.in_short(checked.webhooks):
                warn(line)
        broken = sum(not fault.is_warning for fault in faults)
        summary = f"{tables.count(broken, 'fault')}, {tables.count(len(faults) - broken, 'warning')}"
        warn(summary if faults else "no faults")
    return FAULT if any(not fault.is_warning for fault in faults) else OK


def _fault_document(fault: Any) -> dict[str, Any]:
    return {
        "path": fault.path,
        "line": fault.line,
        "field": fault.field,
        "what": fault.what,
        "expected": fault.expected,
        "suggestion": fault.suggestion,
        "is_warning": fault.is_warning,
    }


def webhooks(paths: Paths, given: argparse.Namespace) -> int:
    """Lists the endpoints; the daemon, if one runs, is only asked where it listens."""
    snapshot = Index(str(paths.config), str(paths.flows), saved=read_settings(paths.state)).load()
    try:
        addresses = control.ask(paths.state, "status", {})["addresses"]
    except StateError:
        addresses = list(snapshot.options.listen)
    base = _base_url(addresses[0]) if addresses else ""
    rows = [
        {
            "client": client.name,
            "webhook": webhook.name,
            "url": f"{base}/api/webhook/{client.name}/{webhook.name}",
            "flow_name": webhook.flow_name if isinstance(webhook, Webhook) else None,
            "user_name": webhook.user_name if isinstance(webhook, Webhook) else None,
            "key_required": webhook.caller_check.key_required if isinstance(webhook, Webhook) else None,
            "enabled": webhook.enabled if isinstance(webhook, Webhook) else False,
        }
        for _, client in sorted(snapshot.clients.items())
        for _, webhook in sorted(client.webhooks.items())
    ]
    if given.json:
        print_json(rows)
    else:
        head = ("URL", "FLOW", "USER", "KEY", "STATE")
        cells = [
            (row["url"], row["flow_name"], row["user_name"], row["key_required"], _webhook_state(row)) for row in rows
        ]
        print_table(head, cells)
    return OK


def _webhook_state(row: dict[str, Any]) -> str:
    """`broken` has no good version and answers 503; `off` has `enabled: false` and answers 404."""
    return "broken" if row["flow_name"] is None else "on" if row["enabled"] else "off"


def _base_url(address: str) -> str:
    return f"http://localhost (over {address})" if address.startswith("unix:") else f"http://{address}"
