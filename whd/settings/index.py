"""config/ and flows/ into an immutable Snapshot: a table of files with their last good versions.

A broken file keeps its last good version since this start, what is removed is gone at once, and a snapshot shares with
the one before whatever did not change. All file reading is here; what a file means is decided in parse.py, what the
files of a client mean together in clients.py. Some lines over 500: listing, reading and keeping last good versions are
one decision, and parted they would hand each other the same table.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from ..errors import ConfigError
from ..model.library import Library, Module
from ..model.options import Options
from ..model.snapshot import Client, Fault, Flow, SavedSetting, Snapshot, Source
from ..ownership import Account
from .clients import ClientTable
from .files import Reading, Unreadable, examine, is_passing, read, signature_of
from .overlay import Overlay, SavedChange, in_order
from .parse import Faults
from .rights import RightsReview, way_to_read
from .tree import FileKind, Folder, FolderKind, TreeEntry, displayed, tree_entry
from .watch import Changes, NotWatching, Watch

_STEP: Final = 64
_UNPUBLISHED: Final = object()


@dataclass(slots=True)
class _FileState:
    """What is known of a file. `good`: its last good version, None without one; `signature`: None to read it again.

    `published`: the version that its client's table has. Of a flow or module: `candidate` waits to be vetted; `vetted`:
    `good` is known to compile; `late_fault`: `good` is known not to compile. `import_fault`: with which modules it is
    known not to find what it imports, and why.
    """

    entry: TreeEntry
    signature: tuple[int, ...] | None = None
    good: Any = None
    faults: Faults = ()
    candidate: Source | None = None
    vetted: bool = False
    late_fault: Fault | None = None
    import_fault: tuple[Library, Fault] | None = None
    published: Any = _UNPUBLISHED

    @property
    def all_faults(self) -> Faults:
        return self.faults if self.late_fault is None else (*self.faults, self.late_fault)


@dataclass(slots=True)
class _Listed:
    """A folder as it was last listed, with the paths of the files and folders below that are read."""

    folder: Folder
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Summary:
    """What an update found: paths that were read anew, that are gone, and that wait for their writer."""

    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)


class Index:
    """The table of files. `update` brings it up to the disk, `snapshot` gives what is valid now.

    With `vets_flows` a changed flow or module waits among `candidates()` until `flow_fault` is called for it. `saved`:
    what flows saved; `save` takes changes of it. `daemon`: who must be able to read all, where that is not this
    process. Raises ConfigError for two roots that are one.
    """

    def __init__(
        self,
        config_dir: str,
        flows_dir: str,
        *,
        vets_flows: bool = False,
        saved: Iterable[SavedSetting] = (),
        daemon: Account | None = None,
    ) -> None:
        _check_roots(config_dir, flows_dir)
        self._daemon = daemon
        self._review = RightsReview(daemon)
        self.config_dir = config_dir
        self.flows_dir = flows_dir
        self._summary = Summary()
        self._vets_flows = vets_flows
        self._table: dict[str, _FileState] = {}
        self._folders: dict[str, _Listed] = {}
        self._folder_faults: dict[str, Fault] = {}
        # Of folders that are read here, and could not be by who is to.
        self._rights_faults: dict[str, Fault] = {}
        self._faulty: dict[str, Faults] = {}
        self._import_faulty: dict[str, _FileState] = {}
        self._clients: dict[str, ClientTable] = {}
        self._fixed_options: Options | None = None
        self._restart_faults: Faults = ()
        self._snapshot = Snapshot(Options(), MappingProxyType({}), ())
        self.overlay = Overlay()
        self.overlay.take((record.client_name, record.name, record) for record in saved)

    @property
    def roots(self) -> tuple[str, str]:
        """config/ and flows/, spelled as given."""
        return self.config_dir, self.flows_dir

    @property
    def current(self) -> Snapshot:
        """The last snapshot; an empty one with serial 0 before the first."""
        return self._snapshot

    def load(self, *, salvage: bool = False) -> Snapshot:
        """Reads everything at once, as a single look. Raises ConfigError if there is no config/ at all.

        `salvage`: takes of files with faults what can be read, so that the faults of all others are found, too. Such a
        snapshot must not be served.
        """
        for reading in self.update(Changes(everything=True)):
            if reading is not None:
                reading.parse(salvage=salvage)
        self.check_usable(options_too=False)
        return self.snapshot()

    def check_usable(self, *, options_too: bool = True) -> None:
        """Raises ConfigError without a config/ folder, and with `options_too` for a whd.yaml without a good version."""
        if fault := self._folder_faults.get(self.config_dir):
            raise ConfigError(f"{fault}; make it, or name another one with --config")
        path = os.path.join(self.config_dir, "whd.yaml")
        state = self._table.get(path)
        if options_too and state is not None and state.good is None:
            raise ConfigError("\n".join(str(fault) for fault in state.faults) or f"{path}: is still being written")

    def fix_options(self) -> None:
        """From here on the options that need a restart keep the values that they have now."""
        self._fixed_options = self._snapshot.options

    def take_summary(self) -> Summary:
        """What all updates found since the last call."""
        summary, self._summary = self._summary, Summary()
        summary.left_out.difference_update(summary.changed)
        return summary

    # From the disk into the table

    def update(self, changes: Changes, watch: Watch | None = None) -> Iterator[Reading | None]:
        """Looks at what changed. Yields each file that was read, to be parsed by the caller before it goes on.

        Yields None where nothing is to be parsed but a pause is possible: no step takes longer than some milliseconds.
        """
        watch = watch or NotWatching()
        self._review = RightsReview(self._daemon)
        found: dict[str, TreeEntry] = {}
        if changes.everything:
            for kind, root in zip((FolderKind.CONFIG, FolderKind.FLOWS), self.roots, strict=True):
                yield from self._list(Folder(kind, root), found, watch)
        for path in changes.paths:
            yield from self._revisit(path, found, watch)
        for count, entry in enumerate(found.values()):
            reread = changes.force or entry.path in changes.paths
            yield from self._refresh(entry, watch, reread=reread)
            if count % _STEP == _STEP - 1:
                yield None
        options = self._effective_options()
        for name, table in list(self._clients.items()):
            yield from table.settle(options)
            if self._is_gone(name):
                del self._clients[name]

    def _list(self, folder: Folder, found: dict[str, TreeEntry], watch: Watch) -> Iterator[None]:
        """Lists a folder and those below into `found`, and drops what is no longer there."""
        watch.cover_folder(folder.path)
        listed = self._folders.setdefault(folder.path, _Listed(folder))
        try:
            with os.scandir(folder.path) as listing:
                members = list(listing)
        except (FileNotFoundError, NotADirectoryError):
            self._drop_folder(folder.path, watch)
            return
        except OSError as error:
            # Not allowed, or out of descriptors: what was there keeps its last good version.
            self._folder_fault(folder.path, f"cannot be read: {error.strerror}", way_to_read(folder.path))
            if is_passing(error):
                watch.look_again(folder.path)
            return
        self._folder_faults.pop(folder.path, None)
        self._rights_faults.pop(folder.path, None)
        if fault := self._review.of_folder(folder.path, is_root=folder.path in self.roots):
            self._rights_faults[folder.path] = fault
        if folder.client_name:
            self._client(folder.client_name)
        files: set[str] = set()
        folders: list[Folder] = []
        for count, member in enumerate(members):
            entry = tree_entry(folder, member.name, is_folder=_is_folder(member))
            if isinstance(entry, TreeEntry):
                found[entry.path] = entry
                files.add(entry.path)
            elif entry is not None:
                folders.append(entry)
            if count % _STEP == _STEP - 1:
                yield
        for path in listed.files - files:
            self._drop(path, watch)
        for path in listed.folders - {below.path for below in folders}:
            self._drop_folder(path, watch)
        listed.files, listed.folders = files, {below.path for below in folders}
        for below in folders:
            yield from self._list(below, found, watch)

    def _revisit(self, path: str, found: dict[str, TreeEntry], watch: Watch) -> Iterator[None]:
        """Looks again at one path that was reported."""
        if path in self.roots:
            yield from self._list(self._folders[path].folder, found, watch)
            return
        parent, name = os.path.split(path)
        listed = self._folders.get(parent)
        if listed is None:
            return
        entry = tree_entry(listed.folder, name, is_folder=_is_folder_at(path)) if os.path.lexists(path) else None
        if not isinstance(entry, Folder) and path in listed.folders:
            listed.folders.discard(path)
            self._drop_folder(path, watch)
        if not isinstance(entry, TreeEntry) and path in listed.files:
            listed.files.discard(path)
            self._drop(path, watch)
        if isinstance(entry, Folder):
            listed.folders.add(path)
            yield from self._list(entry, found, watch)
        elif entry is not None:
            listed.files.add(path)
            found[path] = entry

    def _refresh(self, entry: TreeEntry, watch: Watch, *, reread: bool) -> Iterator[Reading]:
        """Reads one file if it changed and nobody writes it."""
        path = entry.path
        state = self._table.get(path)
        if entry.fault is not None:
            self._put(_FileState(entry, faults=(entry.fault,)))
            return
        try:
            status, is_link = examine(path)
            if watch.cover_file(path, status, is_link=is_link):
                status, _ = examine(path)
        except FileNotFoundError:
            self._forget_file(path, watch)
            return
        except Unreadable as error:
            watch.cover_file(path, None, is_link=error.is_link)
            self._break(entry, error.fault)
            return
        rights = self._review.of_file(entry, status)
        signature = (*signature_of(status), *rights.signature)
        if state is not None and state.signature == signature and not reread:
            return
        if not watch.may_read(path, status):
            self._summary.left_out.add(path)
            return
        try:
            reading = read(entry, status, rights)
        except Unreadable as error:
            if error.is_passing:
                watch.look_again(path)
            self._break(entry, error.fault)
            return
        if reading.is_torn:
            watch.look_again(path)
            self._summary.left_out.add(path)
            return
        yield reading
        if not watch.is_still(path):
            self._summary.left_out.add(path)
            return
        self._take(reading)

    def _take(self, reading: Reading) -> None:
        """Puts a parsed file into the table, its good version or only its faults."""
        entry = reading.entry
        state = self._table.get(entry.path)
        before = None if state is None else state.good
        self._summary.changed.append(entry.path)
        if reading.value is None:
            self._break(entry, *reading.faults, signature=reading.signature)
            return
        if state is None:
            state = _FileState(entry)
        state.signature = reading.signature
        state.faults = reading.faults
        state.candidate = None
        if isinstance(reading.value, (Flow, Module)):
            self._take_source(state, reading.value)
        elif reading.value != before:
            state.good = reading.value
        self._put(state)

    def _take_source(self, state: _FileState, source: Source) -> None:
        before: Source | None = state.good
        if before is not None and before.script_hash == source.script_hash:
            return
        if before is not None and self._vets_flows and state.late_fault is None:
            # The version that serves may be good, and this one not: it must be compiled first, in another process.
            state.candidate = source
            return
        state.good, state.vetted, state.late_fault, state.import_fault = source, False, None, None

    def _break(self, entry: TreeEntry, *faults: Fault, signature: tuple[int, ...] | None = None) -> None:
        state = self._table.get(entry.path) or _FileState(entry)
        state.signature = signature
        state.candidate = None
        state.faults = faults
        self._put(state)

    def _put(self, state: _FileState) -> None:
        path = state.entry.path
        self._table[path] = state
        if state.all_faults:
            self._faulty[path] = state.all_faults
        else:
            self._faulty.pop(path, None)
        if state.published is not state.good:
            state.published = state.good
            self._publish(state.entry, state.good)

    def _publish(self, entry: TreeEntry, good: Any) -> None:
        if not entry.client_name:
            return
        table = self._client(entry.client_name)
        if entry.kind is FileKind.USERS:
            table.set_users(good, entry.path)
        elif entry.kind is FileKind.WEBHOOK:
            table.set_webhook(entry.name, good, entry.path)
        elif entry.kind is FileKind.SETTING:
            table.set_setting(entry.name, good)
        elif entry.kind is FileKind.FLOW:
            table.set_flow(entry.name, good)
        elif entry.kind is FileKind.MODULE:
            table.set_module(entry.name, good)

    def _client(self, name: str) -> ClientTable:
        table = self._clients.get(name)
        if table is None:
            table = self._clients[name] = ClientTable(name)
        return table

    def _forget_file(self, path: str, watch: Watch) -> None:
        listed = self._folders.get(os.path.dirname(path))
        if listed is not None:
            listed.files.discard(path)
        self._drop(path, watch)

    def _drop(self, path: str, watch: Watch) -> None:
        """Forgets a file that is gone, and all its versions."""
        watch.forget(path)
        state = self._table.pop(path, None)
        if state is None:
            return
        self._summary.removed.append(path)
        self._faulty.pop(path, None)
        entry = state.entry
        table = self._clients.get(entry.client_name)
        if table is None:
            return
        if entry.kind is FileKind.USERS:
            table.set_users(None, None)
        elif entry.kind is FileKind.WEBHOOK:
            table.drop_webhook(entry.name)
        elif entry.kind is FileKind.SETTING:
            table.set_setting(entry.name, None)
        elif entry.kind is FileKind.FLOW:
            table.drop_flow(entry.name)
        elif entry.kind is FileKind.MODULE:
            table.drop_module(entry.name)

    def _drop_folder(self, path: str, watch: Watch) -> None:
        """Forgets a folder that is gone and all that was in it. A root that is gone is a fault."""
        parent = self._folders.get(os.path.dirname(path))
        if parent is not None:
            parent.folders.discard(path)
        listed = self._folders.get(path)
        if listed is None:
            return
        for file in listed.files:
            self._drop(file, watch)
        for below in list(listed.folders):
            self._drop_folder(below, watch)
        listed.files, listed.folders = set(), set()
        self._rights_faults.pop(path, None)
        if path in self.roots:
            what = "is not a folder" if os.path.exists(path) else "there is no such folder"
            self._folder_fault(path, what)
        else:
            del self._folders[path]
            self._folder_faults.pop(path, None)
            watch.forget(path)

    def _folder_fault(self, path: str, what: str, expected: str = "a folder that whd may read") -> None:
        self._folder_faults[path] = Fault(displayed(path), 0, "", what, expected)

    def _is_gone(self, client_name: str) -> bool:
        return not any(
            os.path.join(root, client_name) in listed.folders
            for root in self.roots
            if (listed := self._folders.get(root)) is not None
        )

    # Options

    def _effective_options(self) -> Options:
        state = self._table.get(os.path.join(self.config_dir, "whd.yaml"))
        options: Options = state.good if state is not None and state.good is not None else Options()
        self._restart_faults = ()
        if self._fixed_options is None:
            return options
        if state is not None and state.good is None:
            return self._snapshot.options
        kept: dict[str, Any] = {}
        for option in fields(Options):
            now, wanted = getattr(self._fixed_options, option.name), getattr(options, option.name)
            if not option.metadata["live"] and now != wanted:
                kept[option.name] = now
        path = displayed(os.path.join(self.config_dir, "whd.yaml"))
        self._restart_faults = tuple(
            Fault(path, 0, name, f"changed from {_as_yaml(now)} and needs a restart", is_warning=True)
            for name, now in kept.items()
        )
        return replace(options, **kept)

    # Flows and modules that were compiled elsewhere

    def candidates(self) -> list[Source]:
        """What is to be vetted: of each file the version that serves unvetted, then the one that is to follow."""
        waiting: list[Source] = []
        for state in self._table.values():
            if state.candidate is not None:
                if not state.vetted:
                    waiting.append(state.good)
                waiting.append(state.candidate)
        return waiting

    def flow_fault(self, source: Source, fault: Fault | None) -> bool:
        """Notes how a flow or module compiled, None for well; the next snapshot shows it. Returns whether that is news.

        A good candidate goes in; a faulty one only where the version before is no better.
        """
        state = self._table.get(source.path)
        if state is None:
            return False
        before = (state.good, state.vetted, state.all_faults)
        if state.candidate is source:
            state.candidate = None
            if fault is None or state.late_fault is not None:
                state.good, state.vetted, state.late_fault, state.faults = source, fault is None, fault, ()
                state.import_fault = None
            else:
                state.faults = (fault,)
        elif state.good is not None and state.good.script_hash == source.script_hash:
            state.vetted, state.late_fault = fault is None, fault
        self._put(state)
        return before != (state.good, state.vetted, state.all_faults)

    def import_fault(self, source: Source, library: Library, fault: Fault | None) -> bool:
        """Notes that a flow or module does not find what it imports among these modules. Returns whether that is news.

        It is a fault of no file alone: it lasts until the file or the client's modules change.
        """
        state = self._table.get(source.path)
        if state is None or state.good is None or state.good.script_hash != source.script_hash:
            return False
        before = state.import_fault
        state.import_fault = None if fault is None else (library, fault)
        if fault is None:
            self._import_faulty.pop(source.path, None)
        else:
            self._import_faulty[source.path] = state
        return (before and before[1]) != fault

    # From the table into a snapshot

    def snapshot(self) -> Snapshot:
        """What is valid now; the same object as before if nothing differs. Run `update` or `settle` first."""
        options = self._effective_options()
        before = self._snapshot
        options = before.options if options == before.options else options
        bases = {name: table.client for name, table in sorted(self._clients.items())}
        clients: Mapping[str, Client]
        clients, faults = self.overlay.over(bases, self._all_faults(), options)
        if len(clients) == len(before.clients) and all(before.clients.get(n) is c for n, c in clients.items()):
            clients = before.clients
        else:
            clients = MappingProxyType(dict(clients))
        if clients is before.clients and options is before.options and faults == before.faults and before.serial:
            return before
        self._snapshot = Snapshot(options, clients, faults, before.serial + 1)
        return self._snapshot

    def save(self, changes: Iterable[SavedChange]) -> Snapshot:
        """Takes what flows saved and deleted: the last snapshot with that, even in the middle of an update."""
        self._snapshot = self.overlay.swap(self._snapshot, self.overlay.take(changes))
        return self._snapshot

    def settle(self) -> None:
        """Brings the clients up to date after `flow_fault`."""
        options = self._effective_options()
        for table in self._clients.values():
            for _ in table.settle(options):
                pass

    def _all_faults(self) -> Faults:
        faults = [*self._folder_faults.values(), *self._rights_faults.values(), *self._restart_faults]
        for some in (*self._faulty.values(), *(table.faults for table in self._clients.values())):
            faults += some
        faults += self._import_faults()
        return tuple(sorted(faults, key=in_order))

    def _import_faults(self) -> Iterator[Fault]:
        """Those that stand; forgets others."""
        for path, state in list(self._import_faulty.items()):
            table = self._clients.get(state.entry.client_name)
            if (
                state.import_fault is not None
                and self._table.get(path) is state
                and table is not None
                and table.client.library is state.import_fault[0]
            ):
                yield state.import_fault[1]
            else:
                state.import_fault = None
                del self._import_faulty[path]


def _as_yaml(value: Any) -> str:
    """An option's value as whd.yaml has it; a tuple is a list there."""
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


def _is_folder(member: os.DirEntry[str]) -> bool | None:
    try:
        if member.is_dir():
            return True
        # A link is the one kind of entry that may lead nowhere.
        return None if member.is_symlink() and not os.path.exists(member.path) else False
    except OSError:
        return None


def _is_folder_at(path: str) -> bool | None:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return None


def _check_roots(config_dir: str, flows_dir: str) -> None:
    config, flows = os.path.abspath(config_dir), os.path.abspath(flows_dir)
    if config == flows or config.startswith(flows + os.sep) or flows.startswith(config + os.sep):
        raise ConfigError(f"config ({config_dir}) and flows ({flows_dir}) must be two folders, neither in the other")
