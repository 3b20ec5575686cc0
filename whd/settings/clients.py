"""One client's files into its part of the snapshot: what names what, who may run what, which part is still the same.

Only what changed is built again; the other mappings are shared with the snapshot before. Nothing here does I/O.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ..model.library import Library, Module, make_library
from ..model.options import Options
from ..model.snapshot import BrokenWebhook, Client, Fault, Flow, Setting, Webhook
from .parse import ISOLATIONS, Faults, UsersSource
from .references import Suggestions, reference_faults
from .tree import WEBHOOK_PREFIX
from .webhooks import WebhookSource, derive_webhook, limits_of, served

_STEP: Final = 64

_NOBODY = UsersSource({}, {}, "")


class ClientTable:
    """The good versions of one client's files. Change it, run `settle` to its end, then take `client` and `faults`.

    What flows saved is laid over `client` afterwards, in saved.py. A webhook's setting is in `settings` too, for
    flows that may read it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = Client(name, _frozen({}), _frozen({}), _frozen({}), _frozen({}))
        self.faults: Faults = ()
        self._users = _NOBODY
        self._users_path: str | None = None
        self._flows: dict[str, Flow] = {}
        self._unusable_flows: set[str] = set()
        self._modules: dict[str, Module] = {}
        self._unusable_modules: set[str] = set()
        self._settings: dict[str, Setting] = {}
        self._sources: dict[str, WebhookSource] = {}
        self._webhooks: dict[str, Webhook | BrokenWebhook] = {}
        self._webhook_faults: dict[str, Faults] = {}
        self._bounds: tuple[Any, ...] = ()
        self._changed: set[str] = set()
        self._stale: set[str] = set()
        self._all_stale = False

    def set_users(self, source: UsersSource | None, path: str | None) -> None:
        """Takes a users.yaml's good version; None: it has none, or with `path` None, there is no file."""
        self._users = source or _NOBODY
        self._users_path = path
        self._changed.add("users")
        self._all_stale = True

    def set_flow(self, name: str, flow: Flow | None) -> None:
        """Takes a flow's good version, None for a file without one."""
        if (name in self._flows) != (flow is not None) or (name in self._unusable_flows) != (flow is None):
            self._all_stale = True
        if flow is None:
            self._flows.pop(name, None)
            self._unusable_flows.add(name)
        else:
            self._flows[name] = flow
            self._unusable_flows.discard(name)
        self._changed.add("flows")

    def drop_flow(self, name: str) -> None:
        """Forgets a flow whose file is gone."""
        self._flows.pop(name, None)
        self._unusable_flows.discard(name)
        self._changed.add("flows")
        self._all_stale = True

    def set_module(self, name: str, module: Module | None) -> None:
        """Takes a helper module's good version, None for a file without one."""
        if module is None:
            self._modules.pop(name, None)
            self._unusable_modules.add(name)
        else:
            self._modules[name] = module
            self._unusable_modules.discard(name)
        self._changed.add("modules")

    def drop_module(self, name: str) -> None:
        """Forgets a helper module whose file is gone."""
        self._modules.pop(name, None)
        self._unusable_modules.discard(name)
        self._changed.add("modules")

    def set_setting(self, name: str, setting: Setting | None) -> None:
        """Takes a setting's good version; None: there is none, or the file is gone."""
        if setting is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = setting
        self._changed.add("settings")

    def set_webhook(self, name: str, source: WebhookSource | None, path: str) -> None:
        """Takes a webhook's good version, None for a file without one: it becomes a BrokenWebhook."""
        if source is None:
            self._sources.pop(name, None)
            self._webhooks[name] = BrokenWebhook(self.name, name, path)
            self._webhook_faults.pop(name, None)
        else:
            self._sources[name] = source
            self._stale.add(name)
        full_name = WEBHOOK_PREFIX + name
        self.set_setting(
            full_name,
            None if source is None else Setting(full_name, source.value, path, modified_ms=source.modified_ms),
        )
        self._changed.add("webhooks")

    def drop_webhook(self, name: str) -> None:
        """Forgets a webhook whose file is gone."""
        for known in (self._sources, self._webhooks, self._webhook_faults):
            known.pop(name, None)
        self._stale.discard(name)
        self.set_setting(WEBHOOK_PREFIX + name, None)
        self._changed.add("webhooks")

    def settle(self, options: Options) -> Iterator[None]:
        """Brings `client` and `faults` up to date under `options`, a step of at most some ms at a time."""
        bounds = (limits_of(options), options.isolation, options.show_script)
        if bounds != self._bounds:
            self._bounds = bounds
            self._all_stale = True
        stale = list(self._sources) if self._all_stale else sorted(self._stale)
        if not stale and not self._changed and not self._all_stale:
            return
        suggestions = Suggestions()
        for count, name in enumerate(stale):
            self._check(name, options, suggestions)
            if count % _STEP == _STEP - 1:
                yield
        if self._all_stale or self._changed or stale:
            self._build(options)
        self._stale.clear()
        self._changed.clear()
        self._all_stale = False

    def _check(self, name: str, options: Options, suggestions: Suggestions) -> None:
        source = self._sources[name]
        derived, warnings = derive_webhook(source, options, time.time)
        webhook = served(derived, warnings)
        if webhook != self._webhooks.get(name):
            self._webhooks[name] = webhook
            self._changed.add("webhooks")
        faults = warnings + self._reference_faults(source, suggestions)
        if faults:
            self._webhook_faults[name] = faults
        else:
            self._webhook_faults.pop(name, None)

    def _reference_faults(self, source: WebhookSource, suggestions: Suggestions) -> Faults:
        return reference_faults(
            source,
            self._users.users,
            self._flows,
            suggestions,
            users_path=self._users_path,
            # A users.yaml that is broken speaks for itself.
            knows_users=self._users_path is None or self._users is not _NOBODY,
            unusable_flows=self._unusable_flows,
            faulty_users=self._users.faulty,
        )

    def _build(self, options: Options) -> None:
        before = self.client
        changed = self._changed
        library = before.library
        if "modules" in changed:
            made = make_library(self._modules, self._unusable_modules)
            library = library if made.hash == library.hash else made
        self.client = Client(
            self.name,
            _frozen(dict(self._users.users)) if "users" in changed else before.users,
            self._linked_flows(library) if changed & {"flows", "modules"} else before.flows,
            _frozen(self._settings) if "settings" in changed else before.settings,
            _frozen(self._webhooks) if "webhooks" in changed else before.webhooks,
            library,
        )
        faults = [fault for faults in self._webhook_faults.values() for fault in faults]
        self.faults = (*faults, *self._user_warnings(options))

    def _linked_flows(self, library: Library) -> Mapping[str, Flow]:
        """The flows, each that may import modules with those that there are; the same objects where nothing changed."""
        before = self.client.flows
        flows: dict[str, Flow] = {}
        for name, flow in self._flows.items():
            if flow.library is not None:
                known = before.get(name)
                is_same = known is not None and known.library is library and known.script_hash == flow.script_hash
                flow = known if known is not None and is_same else flow.with_library(library)
            flows[name] = flow
        return _frozen(flows)

    def _user_warnings(self, options: Options) -> Iterator[Fault]:
        for name, line in self._users.isolation_lines.items():
            isolation = self._users.users[name].isolation
            if isolation is not None and ISOLATIONS.index(isolation) < ISOLATIONS.index(options.isolation):
                what = f"{isolation} is looser than the daemon's {options.isolation}, which holds"
                yield Fault(self._users.path, line, f"{name}.isolation", what, is_warning=True)


def _frozen(table: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(table))
