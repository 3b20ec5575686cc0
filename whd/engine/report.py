"""What one process of the daemon has counted, and how it is: a value that adds up over processes. No I/O.

One counter more is a field here, a line in `Engine.report` (engine.py) that reads it where it is counted, and a row in
status.py, which says it. The way from a front to the hub needs nothing: all fields travel, and `+` adds them up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from ..model.snapshot import Snapshot
from ..settings.tree import displayed
from ..store.interface import StoreCounters


@dataclass(frozen=True, slots=True)
class SettingsReport:
    """How much the settings in force hold; `snapshot` is their serial number."""

    clients: int = 0
    webhooks: int = 0
    snapshot: int = 0


@dataclass(frozen=True, slots=True)
class WatchReport:
    """How changes of the settings are noticed: folders that inotify alone tells of, and what is looked at, with why."""

    watched: int = 0
    polled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutionsReport:
    """`started` since the start and `active`, not ended; of these some run, in one of the `slots`, and some wait.

    `fenced`: attempts whose end was dropped since another node had claimed the execution. Always 0 with one node, so
    that no document says it yet.
    """

    started: int = 0
    active: int = 0
    running: int = 0
    waiting: int = 0
    slots: int = 0
    fenced: int = 0


@dataclass(frozen=True, slots=True)
class WorkersReport:
    """Worker processes, in all and by pool.worker.WorkerState; since the start: forked, killed, jobs sent ahead."""

    total: int = 0
    forking: int = 0
    spare: int = 0
    idle: int = 0
    busy: int = 0
    dead: int = 0
    forked: int = 0
    killed: int = 0
    prefetched: int = 0
    revoked: int = 0


@dataclass(frozen=True, slots=True)
class CallsReport:
    """Calls that were left out by `only`, repeats by `dedup`, and ids that came with another body, since the start."""

    filtered: int = 0
    replayed: int = 0
    reused_ids: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """One process's, or several processes' together. Everything is zero until it is said.

    `faults` of settings and the sandbox's `layers` ({name, engaged, reason}) are found alike by all who look, so the
    first report's stand for all; None: this process has not looked.
    """

    settings: SettingsReport = field(default_factory=SettingsReport)
    executions: ExecutionsReport = field(default_factory=ExecutionsReport)
    workers: WorkersReport = field(default_factory=WorkersReport)
    store: StoreCounters = field(default_factory=StoreCounters)
    saved_fault: str = ""
    refused_calls: int = 0
    calls: CallsReport = field(default_factory=CallsReport)
    buffered_bytes: int = 0
    faults: tuple[str, ...] | None = None
    layers: tuple[Mapping[str, Any], ...] | None = None
    watch: WatchReport = field(default_factory=WatchReport)

    def __add__(self, other: Report) -> Report:
        """Both together: numbers are added, but for NOT_ADDED."""
        added: Report = _added(self, other)
        return added

    def of_front(self) -> Report:
        """What a front says of itself: without what is one for all fronts, which the hub says."""
        return replace(
            self,
            settings=SettingsReport(),
            watch=WatchReport(),
            executions=replace(self.executions, slots=0),
            store=StoreCounters(),
            saved_fault="",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Report:
        """What `as_dict` gave, perhaps through JSON."""
        report: Report = _read(cls(), members)
        return report


def settings_report(snapshot: Snapshot) -> SettingsReport:
    """How much the settings in force hold."""
    clients = snapshot.clients
    return SettingsReport(len(clients), sum(len(client.webhooks) for client in clients.values()), snapshot.serial)


def watch_report(watched: int, polled: Mapping[str, str]) -> WatchReport:
    """How changes of the settings are noticed, as settings.reload.Reloader says it."""
    return WatchReport(watched, tuple(f"{displayed(path)} ({why})" for path, why in sorted(polled.items())))


def fault_texts(snapshot: Snapshot) -> tuple[str, ...]:
    """What is wrong with the settings, without mere warnings."""
    return tuple(str(fault) for fault in snapshot.faults if not fault.is_warning)


def _first(one: Any, other: Any) -> Any:
    return other if one is None or one == "" else one


# By the field's name, what makes one of two.
NOT_ADDED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "last_commit_ms": max,
    "fault": _first,
    "saved_fault": _first,
    "faults": _first,
    "layers": _first,
}


def _added(one: Any, other: Any) -> Any:
    if not is_dataclass(one):
        return one + other
    names = [member.name for member in fields(one)]
    part: Any = type(one)
    return part(**{name: NOT_ADDED.get(name, _added)(getattr(one, name), getattr(other, name)) for name in names})


def _read(empty: Any, value: Any) -> Any:
    """A value from JSON, in the shape of `empty`."""
    if is_dataclass(empty):
        part: Any = type(empty)
        return part(**{name: _read(getattr(empty, name), member) for name, member in value.items()})
    return tuple(value) if isinstance(value, list) else value
