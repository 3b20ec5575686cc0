"""`whd check` and `whd webhooks`: what config/ and flows/ say."""

from __future__ import annotations

import argparse
from typing import Any

import uvloop

from ..admin import client as control
from ..admin.client import base_url
from ..engine.state import Paths
from ..errors import StateError
from . import explain, tables
from .checking import check_everything, webhooks_of_files
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
    """Lists the endpoints: the daemon's, if one runs, else what the files make."""
    try:
        rows = control.ask(paths.state, "webhooks", {})
        addresses = control.ask(paths.state, "status", {})["addresses"]
    except StateError:
        rows, addresses = uvloop.run(webhooks_of_files(paths))
    base = base_url(addresses)
    rows = [{**row, "url": f"{base}/api/webhook/{row['client']}/{row['webhook']}"} for row in rows]
    if given.json:
        print_json(rows)
    else:
        over = f" (over {addresses[0]})" if addresses and addresses[0].startswith("unix:") else ""
        fields = ("flow_name", "user_name", "key_required", "state")
        cells = [(row["url"] + over, *(row[field] for field in fields), row["why_not"] or "") for row in rows]
        head: tuple[str, ...] = ("URL", "FLOW", "USER", "KEY", "STATE", "WHY NOT")
        if not any(row["why_not"] for row in rows):
            head, cells = head[:-1], [cell[:-1] for cell in cells]
        print_table(head, cells, optional=("USER", "FLOW"))
    return OK
