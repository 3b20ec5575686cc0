"""The settings of a running daemon: one reference to a Snapshot, swapped when something changed and all is read.

Everything runs on the loop, in slices, so that requests are answered meanwhile; only large files are parsed in a
thread. A burst of changes is one swap, and constant changes delay it by MAX_DELAY_S at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..model.library import NO_LIBRARY, Library
from ..model.snapshot import Fault, Flow, SavedSetting, Setting, Snapshot, Source
from .files import Reading
from .index import Index
from .overlay import SavedChange
from .tree import displayed
from .watch import Changes, Watcher
from .watch_each import EachWatcher
from .watch_polling import INTERVAL_S, PollingWatcher

DEBOUNCE_S: Final = 0.03
MAX_DELAY_S: Final = 0.25
SLICE_S: Final = 0.002
THREAD_BYTES: Final = 32_768
START_PATIENCE_S: Final = 1.0
VET_PATIENCE_S: Final = 0.3
VET_TIMEOUT_S: Final = 10.0
MAX_LOGGED_FAULTS: Final = 1_000
# Of the paths that are polled, in one line of the log.
MAX_NAMED: Final = 10

VetFlows = Callable[[Sequence[Source]], Awaitable[Sequence[Fault | None]]]
OnSwap = Callable[[Snapshot, Snapshot], None]

log = logging.getLogger("whd.settings")


class Reloader:
    """Owns index and watcher. `snapshot` is what is valid now; each of `on_swap` is called with (old, new) on the loop.

    `vet_flows` compiles flows and modules elsewhere and gives a fault or None for each; without it what changed goes in
    unvetted.
    `polls`: watch without inotify. To be closed by its starter.
    """

    def __init__(
        self, config_dir: str, flows_dir: str, *, vet_flows: VetFlows | None = None, polls: bool = False
    ) -> None:
        self.on_swap: list[OnSwap] = []
        self._index = Index(config_dir, flows_dir, vets_flows=vet_flows is not None)
        self.snapshot = self._index.current
        self._vet_flows = vet_flows
        self._polls = polls
        self._vetting: tuple[list[Source], asyncio.Future[Sequence[Fault | None]]] | None = None
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._last_change = 0.0
        self._known_faults: frozenset[Fault] = frozenset()
        self._told_polled: dict[str, str] = {}

    async def start(self) -> Snapshot:
        """Reads everything and begins to watch. Raises ConfigError without config/ or with a broken whd.yaml."""
        loop = asyncio.get_running_loop()
        try:
            async with self._lock:
                watcher = self._open_watcher()
                await self._update(Changes(everything=True))
                # Files that were written a moment ago wait for their time of standing still; so does the start.
                deadline = loop.time() + START_PATIENCE_S
                while watcher.has_unsettled and loop.time() < deadline:
                    await asyncio.sleep(DEBOUNCE_S)
                    await self._update(watcher.take())
                self._index.check_usable()
                log.info("%d folders are watched with inotify", self.watched_count)
                self._swap("settings read")
                self._index.fix_options()
        except BaseException:
            self.close()
            raise
        self._task = loop.create_task(self._run(), name="whd settings reload")
        return self.snapshot

    async def reload(self, *, force: bool = True) -> Snapshot:
        """Takes in what changed; with `force` reads every file again but those that are being written."""
        async with self._lock:
            changes = self._take()
            changes.everything = changes.everything or force
            changes.force = force
            await self._apply(changes)
        return self.snapshot

    def flow_fault(self, source: Source, fault: Fault | None) -> None:
        """Notes how a flow or module that was not vetted compiled, None for well; a swap shows it soon."""
        if self._index.flow_fault(source, fault):
            self._changed()

    def import_fault(self, source: Source, library: Library, fault: Fault | None) -> None:
        """Notes that a flow or module does not find what it imports among these modules; a swap shows it soon."""
        if self._index.import_fault(source, library, fault):
            self._changed()

    def refused(self, flow: Flow, fault: Fault, *, by_import: bool) -> None:
        """Notes why a flow does not run. `by_import`: it compiles, but not with the modules that it imports."""
        if by_import:
            self.import_fault(flow, flow.library or NO_LIBRARY, fault)
        else:
            self.flow_fault(flow, fault)

    def take_saved(self, changes: Iterable[SavedChange]) -> None:
        """Swaps in what was saved or deleted: the next request sees it, whatever is being read from disk meanwhile."""
        old = self.snapshot
        self._publish(self._index.save(changes))
        if self.snapshot is not old:
            self._log_new_faults(self.snapshot.faults)

    def file_setting(self, client_name: str, name: str) -> Setting | None:
        """The operator's setting of that name, whatever was saved before it."""
        return self._index.overlay.file_setting(client_name, name)

    def check_saved_webhook(self, record: SavedSetting) -> None:
        """Whether a webhook may be saved as things stand. Raises PermissionDenied, SaveRefused."""
        self._index.overlay.check_webhook(record)

    def close(self) -> None:
        """Ends watching. The last snapshot stays. Harmless twice."""
        if self._task is not None:
            self._task.cancel()
        if self._vetting is not None:
            self._vetting[1].cancel()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    @property
    def watched_count(self) -> int:
        """How many folders inotify alone tells of."""
        return 0 if self._watcher is None else self._watcher.watched_count

    @property
    def polled(self) -> Mapping[str, str]:
        """The folders and files that are looked at again and again, each with the reason."""
        return {} if self._watcher is None else self._watcher.polled

    def _open_watcher(self) -> Watcher:
        loop = asyncio.get_running_loop()
        if not self._polls:
            try:
                self._watcher = EachWatcher(loop, self._changed, roots=self._index.roots)
                return self._watcher
            except OSError as error:
                self._log_polling(error.strerror or "no inotify")
        self._watcher = PollingWatcher(loop, self._changed, roots=self._index.roots)
        return self._watcher

    def _log_polling(self, why: str) -> None:
        log.warning("cannot watch files with inotify (%s): looking at them every %.0f ms", why, INTERVAL_S * 1000)
        self._polls = True

    def _tell_polled(self) -> None:
        """Says once of each path that it is polled; where all are, that was said already."""
        if self._polls:
            return
        fresh = {path: why for path, why in self.polled.items() if self._told_polled.get(path) != why}
        self._told_polled = dict(self.polled)
        if fresh:
            named = ", ".join(f"{displayed(path)} ({why})" for path, why in sorted(fresh.items())[:MAX_NAMED])
            more = f" and {len(fresh) - MAX_NAMED} more" if len(fresh) > MAX_NAMED else ""
            log.info(
                "inotify does not tell of all changes there, so these are looked at every %.0f ms: %s%s",
                INTERVAL_S * 1000,
                named,
                more,
            )

    def _changed(self) -> None:
        self._last_change = asyncio.get_running_loop().time()
        self._wake.set()

    def _take(self) -> Changes:
        return Changes() if self._watcher is None else self._watcher.take()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._let_burst_end()
            self._wake.clear()
            async with self._lock:
                try:
                    await self._apply(self._take())
                except Exception:
                    # A defect, but the daemon serves on with what it has, and the next change is tried again.
                    log.exception("the settings could not be read again; those from before stay")

    async def _let_burst_end(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_DELAY_S
        while (pause := min(self._last_change + DEBOUNCE_S, deadline) - loop.time()) > 0:
            await asyncio.sleep(pause)

    async def _apply(self, changes: Changes) -> None:
        await self._update(changes)
        await self._vet()
        self._swap("settings reloaded", is_forced=changes.force)

    async def _update(self, changes: Changes) -> None:
        assert self._watcher is not None
        await self._drive(self._index.update(changes, self._watcher))
        if self._watcher.failure:
            self._log_polling(self._watcher.failure)
            self._watcher.close()
            self._open_watcher()
            await self._drive(self._index.update(Changes(everything=True), self._watcher))
        self._tell_polled()

    async def _drive(self, steps: Iterator[Reading | None]) -> None:
        """Runs an update in slices: requests come in between."""
        loop = asyncio.get_running_loop()
        slice_end = loop.time() + SLICE_S
        for reading in steps:
            if reading is not None:
                if len(reading.data) > THREAD_BYTES:
                    await loop.run_in_executor(None, reading.parse)
                else:
                    reading.parse()
            if loop.time() > slice_end:
                await asyncio.sleep(0)
                slice_end = loop.time() + SLICE_S

    async def _vet(self) -> None:
        """Has changed flows and modules compiled elsewhere; what takes too long goes in with a later swap."""
        while self._vet_flows is not None:
            patience = 0.0
            if self._vetting is None:
                sources = self._index.candidates()
                if not sources:
                    return
                vetted = asyncio.wait_for(self._vet_flows(sources), VET_TIMEOUT_S)
                self._vetting = sources, asyncio.ensure_future(vetted)
                patience = VET_PATIENCE_S
            sources, task = self._vetting
            await asyncio.wait({task}, timeout=patience)
            if not task.done():
                task.add_done_callback(lambda _: self._wake.set())
                return
            self._vetting = None
            self._take_vetted(sources, task)
            self._index.settle()

    def _take_vetted(self, sources: list[Source], task: asyncio.Future[Sequence[Fault | None]]) -> None:
        faults: Sequence[Fault | None] = [None] * len(sources)
        if error := task.exception():
            # A run of the flow will show what is wrong with it; an operator's change must not wait for that.
            log.warning("changed flows and modules could not be compiled ahead and go in as they are: %r", error)
        else:
            faults = task.result()
        for source, fault in zip(sources, faults, strict=True):
            self._index.flow_fault(source, fault)

    def _swap(self, what: str, *, is_forced: bool = False) -> None:
        old, new = self.snapshot, self._index.snapshot()
        summary = self._index.take_summary()
        self._publish(new)
        if new is not old or summary.changed or summary.removed:
            errors = sum(not fault.is_warning for fault in new.faults)
            log.info(
                "%s: %d read, %d gone, %d faults%s",
                what,
                len(summary.changed),
                len(summary.removed),
                errors,
                _named(summary.changed + summary.removed),
            )
        if summary.left_out:
            # Ordinary while files come in; after a forced reload an operator wonders why a file was not read.
            level = logging.INFO if is_forced else logging.DEBUG
            log.log(
                level, "still being written, and read when that is over: %s", ", ".join(sorted(summary.left_out)[:10])
            )
        self._log_new_faults(new.faults)

    def _publish(self, new: Snapshot) -> None:
        old = self.snapshot
        if new is not old:
            self.snapshot = new
            for callback in self.on_swap:
                callback(old, new)

    def _log_new_faults(self, faults: tuple[Fault, ...]) -> None:
        fresh = [fault for fault in faults if fault not in self._known_faults]
        self._known_faults = frozenset(faults)
        for fault in fresh[:MAX_LOGGED_FAULTS]:
            log.log(logging.INFO if fault.is_warning else logging.WARNING, "%s", fault)
        if len(fresh) > MAX_LOGGED_FAULTS:
            log.warning("and %d more faults, which `whd check` lists", len(fresh) - MAX_LOGGED_FAULTS)


def _named(paths: list[str]) -> str:
    if not paths:
        return ""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f" ({', '.join(sorted(paths)[:3])}{more})"
