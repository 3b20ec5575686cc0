"""`whd status`: what the running daemon reports."""

from __future__ import annotations

import argparse
from typing import Any

from ..admin import client as control
from ..engine.state import Paths
from . import tables
from .printing import OK, print_json, say

MAX_POLLED = 10


def status(paths: Paths, given: argparse.Namespace) -> int:
    """What the daemon says of itself."""
    document = control.ask(paths.state, "status", {})
    if given.json:
        print_json(document)
        return OK
    executions, workers, calls = document["executions"], document["workers"], document["calls"]
    lines = [
        f"whd {document['version']}, pid {document['pid']}, {document['state']} for {document['uptime_s']} s",
        f"listens on {', '.join(document['addresses'])}, {_fronts(document['processes'])}",
        f"{tables.count(document['clients'], 'client')}, {tables.count(document['webhooks'], 'webhook')}, "
        f"settings snapshot {document['snapshot']}",
        f"executions: {executions['running']} running on {executions['places']} places, "
        f"{executions['waiting']} waiting, {executions['started']} started",
        f"refused: {document['refused_calls']} requests of flows, by permission",
        f"calls: {calls['filtered']} filtered (only), {calls['replayed']} repeats (dedup), "
        f"{calls['reused_ids']} ids reused",
        f"workers: {workers['total']} ({workers['idle']} idle, {workers['spare']} spare), {workers['forked']} forked",
        f"store: {document['store']['written']} written, {document['store']['waiting']} waiting, "
        f"{document['store']['file_bytes'] / 1_048_576:.1f} MiB",
    ]
    lines += [_watch_line(document["watch"])]
    lines += [_front_line(front) for front in document.get("fronts", [])]
    lines += [f"sandbox: {layer['name']} is missing: {layer['reason']}" for layer in _missing(document["sandbox"])]
    lines += [f"fault: {document[name]['fault']}" for name in ("store", "saved") if document[name]["fault"]]
    lines += [f"fault: {fault}" for fault in document["faults"]]
    for line in lines:
        say(line)
    return OK


def _watch_line(watch: dict[str, Any]) -> str:
    polled = watch["polled"]
    line = f"changes: {tables.count(watch['watched'], 'folder')} watched"
    more = f" and {len(polled) - MAX_POLLED} more (--json names all)" if len(polled) > MAX_POLLED else ""
    return line + (f"; looked at again and again: {', '.join(polled[:MAX_POLLED])}{more}" if polled else "")


def _fronts(processes: int) -> str:
    return "1 front process" if processes == 1 else f"{processes} front processes"


def _front_line(front: dict[str, Any]) -> str:
    state = front["state"] + ("" if front["answers"] else " but does not answer")
    executions = front["executions"]
    return (
        f"front {front['number']}: {state}, pid {front['pid']}, {front['connections']} connections, "
        f"{executions['running']} running, {executions['waiting']} waiting"
    )


def _missing(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [layer for layer in layers if not layer["engaged"]]
