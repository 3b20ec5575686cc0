"""Every client's saved settings over the clients of the files: as part of each snapshot, and by themselves in between.

A change of what is saved need not wait for an update that is reading files: it is laid over the clients of the last
snapshot, and the next one has it too. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..errors import SaveRefused
from ..model.options import Options
from ..model.snapshot import Client, Fault, SavedSetting, Setting, Snapshot
from .parse import Faults
from .saved import SavedLayer, check_webhook

# Client, name, and what was saved; None: it was deleted.
SavedChange = tuple[str, str, SavedSetting | None]


class Overlay:
    """The layers by client. `take` changes, then `over` for a snapshot of new clients or `swap` for the same again."""

    def __init__(self) -> None:
        self._layers: dict[str, SavedLayer] = {}
        # The clients and faults of the files alone, as the last snapshot has them.
        self._bases: Mapping[str, Client] = {}
        self._file_faults: Faults = ()

    def take(self, changes: Iterable[SavedChange]) -> set[str]:
        """Takes what was saved and deleted; gives the names of the clients that it touches."""
        touched = set()
        for client_name, name, record in changes:
            layer = self._layers.setdefault(client_name, SavedLayer())
            if record is None:
                layer.drop(name)
            else:
                layer.put(record)
            touched.add(client_name)
        return touched

    def over(
        self, bases: Mapping[str, Client], file_faults: Faults, options: Options
    ) -> tuple[dict[str, Client], Faults]:
        """Clients and faults as they are to be in a snapshot."""
        self._bases, self._file_faults = bases, file_faults
        clients = {name: self._laid_over(base, options) for name, base in bases.items()}
        return clients, self._faults()

    def swap(self, before: Snapshot, touched: set[str]) -> Snapshot:
        """The last snapshot with what was taken since, in the clients that it touches; nothing else is looked at."""
        touched = touched & self._bases.keys()
        if not touched:
            return before
        faults_before = {name: self._layers[name].faults for name in touched}
        changed = {name: self._laid_over(self._bases[name], before.options) for name in touched}
        has_news = any(self._layers[name].faults != faults for name, faults in faults_before.items())
        faults = self._faults() if has_news else before.faults
        clients = MappingProxyType({**before.clients, **changed})
        return Snapshot(before.options, clients, faults, before.serial + 1)

    def file_setting(self, client_name: str, name: str) -> Setting | None:
        """The operator's setting of that name, whatever was saved before it."""
        base = self._bases.get(client_name)
        return None if base is None else base.settings.get(name)

    def check_webhook(self, record: SavedSetting) -> None:
        """Whether a webhook may be saved as things stand. Raises PermissionDenied, SaveRefused."""
        base = self._bases.get(record.client_name)
        if base is None:
            raise SaveRefused("ResourceNotFoundError", f"there is no client {record.client_name}")
        check_webhook(base, record)

    def _laid_over(self, base: Client, options: Options) -> Client:
        layer = self._layers.get(base.name)
        return base if layer is None else layer.over(base, options)

    def _faults(self) -> Faults:
        faults = [fault for name, layer in self._layers.items() if name in self._bases for fault in layer.faults]
        return tuple(sorted((*self._file_faults, *faults), key=in_order)) if faults else self._file_faults


def in_order(fault: Fault) -> tuple[str, int]:
    """The key by which faults are sorted."""
    return fault.path, fault.line
