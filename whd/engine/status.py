"""How a Report is said: the status document, what /readyz answers, the service manager's line. All pure.

A counter's row stands here; report.py says what else a counter needs. The keys of the documents are public: commands
and scripts read them, whatever the fields are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..model.snapshot import Snapshot
from .report import ExecutionsReport, Report
from .state import Paths


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What is known of a running daemon without counting. `state` is an EnginePhase's value."""

    pid: int
    uptime_s: float
    state: str
    addresses: Sequence[str]
    processes: int
    paths: Paths


def status_document(
    report: Report, facts: DaemonFacts, fronts: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What `whd status --json` prints. `fronts`: a row for each, where there are several."""
    settings, workers, store = report.settings, report.workers, report.store
    document = {
        "version": __version__,
        "pid": facts.pid,
        "uptime_s": round(facts.uptime_s, 1),
        "state": facts.state,
        "addresses": list(facts.addresses),
        "processes": facts.processes,
        "config": str(facts.paths.config),
        "flows": str(facts.paths.flows),
        "state_folder": str(facts.paths.state),
        "clients": settings.clients,
        "webhooks": settings.webhooks,
        "snapshot": settings.snapshot,
        "watch": {"watched": report.watch.watched, "polled": list(report.watch.polled)},
        "faults": list(report.faults or ()),
        "executions": {**executions_row(report.executions), "places": report.executions.slots},
        "workers": {
            "total": workers.total,
            "forking": workers.forking,
            "spare": workers.spare,
            "idle": workers.idle,
            "busy": workers.busy,
            "dead": workers.dead,
            "forked": workers.forked,
            "killed": workers.killed,
            "handed": workers.prefetched,
            "taken_back": workers.revoked,
        },
        "refused_calls": report.refused_calls,
        "calls": {
            "filtered": report.calls.filtered,
            "replayed": report.calls.replayed,
            "reused_ids": report.calls.reused_ids,
        },
        "buffered_bytes": report.buffered_bytes,
        "store": {
            "written": store.written,
            "waiting": store.waiting,
            "waiting_bytes": store.waiting_bytes,
            "commits": store.commits,
            "last_commit_ms": store.last_commit_ms,
            "lost": store.lost,
            "file_bytes": store.file_bytes,
            "fault": store.fault,
        },
        "saved": {"fault": report.saved_fault},
        "sandbox": [dict(layer) for layer in report.layers or ()],
    }
    return document if fronts is None else {**document, "fronts": list(fronts)}


def executions_row(executions: ExecutionsReport) -> dict[str, int]:
    """The daemon's or one front's."""
    return {
        "started": executions.started,
        "live": executions.active,
        "running": executions.running,
        "waiting": executions.waiting,
    }


def readiness(snapshot: Snapshot, state_faults: int, *, is_detached: bool = False) -> tuple[int, dict[str, Any]]:
    """What /readyz answers while calls are served: (status, document).

    `state_faults`: how many of the stores cannot write. `is_detached`: one of them only after a restart.
    Of the facts and not of a Report: anybody may ask, as often as they like, and this costs next to nothing.
    """
    faults = sum(not fault.is_warning for fault in snapshot.faults) + state_faults
    if is_detached:
        return 503, {"status": "needs_restart", "faults": faults}
    return 200, {"status": "degraded", "faults": faults} if faults else {"status": "ready"}


def service_line(report: Report, addresses: Sequence[str]) -> str:
    """One line for `systemctl status`."""
    executions = report.executions
    return (
        f"serving on {', '.join(addresses)}; {executions.started} executions started, "
        f"{executions.running} running, {executions.waiting} waiting"
    )
