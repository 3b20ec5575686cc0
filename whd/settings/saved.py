"""What flows saved, laid over the operator's files; and the only code that decides the bounds of a saved webhook.

A saved setting stands before the operator's file of its name. A saved webhook serves within what `out_of_bounds` and
the daemon's limits leave it, and answers 503 past them: it is judged again whenever users, flows, files or options
change, so that no flow lends itself rights that its user does not have, or no longer has. Nothing here does I/O.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ..auth.permissions import Action, PermissionDenied, may
from ..errors import Forbidden, SaveRefused
from ..model.options import Options
from ..model.snapshot import OPERATOR, BrokenWebhook, Client, Fault, SavedSetting, Setting, User, Webhook
from .parse import Faults
from .references import Suggestions, reference_faults
from .tree import NAME_PATTERN, WEBHOOK_PREFIX
from .webhooks import WebhookSource, derive_webhook, limits_of, read_saved_webhook, served

# As for a file with the ending .yaml in a folder: what Linux takes as one name.
MAX_NAME_BYTES: Final = 255

_webhook_name = re.compile(NAME_PATTERN)


class FileReplaced(PermissionDenied):
    """A saved webhook would replace an operator's webhook file."""

    def __init__(self, saver: str, record: str) -> None:
        PermissionDenied.__init__(self, saver, Action.WRITE_SETTING, record)
        who = "nobody may write" if saver == OPERATOR else f"user {saver} may not write"
        text = f"{who} the setting {record}: it is an operator's webhook file, which nothing that is saved can replace"
        Forbidden.__init__(self, text)


def check_name(name: str) -> None:
    """A setting's name: what the operator could give a file. Raises SaveRefused."""
    fault = ""
    if not name:
        fault = "is empty"
    elif len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        fault = f"is longer than {MAX_NAME_BYTES} bytes"
    elif not name.isprintable():
        fault = "holds a character that cannot be printed"
    elif "/" in name:
        fault = "holds a /"
    elif name.startswith("."):
        fault = "starts with a ."
    elif name.startswith(WEBHOOK_PREFIX) and not _webhook_name.fullmatch(name.removeprefix(WEBHOOK_PREFIX)):
        fault = f"is no webhook's name: what follows {WEBHOOK_PREFIX} must match {NAME_PATTERN}"
    if fault:
        raise SaveRefused("InvalidInputError", f"the setting's name {name[:80]!a} {fault}")


def check_webhook(base: Client, record: SavedSetting) -> None:
    """Whether a webhook may be saved as it is, over `base`, the operator's files alone.

    Raises PermissionDenied past the bounds, SaveRefused for fields that an operator's file could not have either. A
    flow or user that is missing is no reason: it may come, and until then the webhook answers 503.
    """
    source, faults = _source_of(record)
    user_name = None if source is None else source.user_name
    error = out_of_bounds(base.users, record.saver, user_name, record.name, has_file=_has_file(base, record))
    if error is not None:
        raise error
    if source is None:
        what = "; ".join(_without_location(fault) for fault in faults if not fault.is_warning)
        raise SaveRefused("InvalidInputError", f"{record.name}: {what}")


def out_of_bounds(
    users: Mapping[str, User], saver: str, user_name: str | None, name: str, *, has_file: bool
) -> PermissionDenied | None:
    """Why the webhook setting `name`, saved by `saver` and naming `user_name`, may not serve; None if it may.

    `user_name` is None where the value cannot be read. What an operator saved by command lends nobody rights.
    """
    if has_file:
        return FileReplaced(saver, name)
    if saver == OPERATOR:
        return None
    user = users.get(saver)
    if user is None or not may(user, Action.WRITE_SETTING, name):
        return PermissionDenied(saver, Action.WRITE_SETTING, name)
    if user_name is not None and not may(user, Action.ACT_AS, user_name):
        return PermissionDenied(saver, Action.ACT_AS, user_name)
    return None


class SavedLayer:
    """One client's saved settings. Change it with `put` and `drop`, then take `over(base, …)` and `faults`."""

    def __init__(self) -> None:
        self.faults: Faults = ()
        self._records: dict[str, SavedSetting] = {}
        self._changed: set[str] = set()
        self._settings: dict[str, Setting] = {}
        self._sources: dict[str, tuple[WebhookSource | None, Faults]] = {}
        self._webhooks: dict[str, Webhook | BrokenWebhook] = {}
        self._faults: dict[str, Faults] = {}
        self._base: Client | None = None
        self._bounds: tuple[Any, ...] = ()
        self._client: Client | None = None

    def put(self, record: SavedSetting) -> None:
        """Takes what was saved."""
        self._records[record.name] = record
        self._sources.pop(record.name, None)
        self._changed.add(record.name)

    def drop(self, name: str) -> None:
        """Forgets what was deleted; the operator's value stands again."""
        self._records.pop(name, None)
        self._sources.pop(name, None)
        self._changed.add(name)

    def over(self, base: Client, options: Options) -> Client:
        """The client as it serves: what was saved over `base`. The same object as before if nothing differs."""
        bounds = (limits_of(options), options.isolation, options.show_script)
        is_same = base is self._base and bounds == self._bounds
        if is_same and not self._changed and self._client is not None:
            return self._client
        names = self._changed if is_same else self._changed | self._records.keys()
        before = self._client if is_same else None
        suggestions = Suggestions()
        for name in names:
            self._judge(name, base, options, suggestions)
        has_webhooks = before is None or any(name.startswith(WEBHOOK_PREFIX) for name in names)
        self._client = self._merged(base, None if has_webhooks else before)
        self.faults = tuple(fault for faults in self._faults.values() for fault in faults)
        self._base, self._bounds = base, bounds
        self._changed.clear()
        return self._client

    def _merged(self, base: Client, before: Client | None) -> Client:
        """`before`: a client whose webhooks are still right."""
        if not self._settings and not self._webhooks:
            return base
        webhooks = base.webhooks
        if before is not None:
            webhooks = before.webhooks
        elif self._webhooks:
            webhooks = MappingProxyType({**base.webhooks, **self._webhooks})
        settings = MappingProxyType({**base.settings, **self._settings})
        return Client(base.name, base.users, base.flows, settings, webhooks, base.library)

    def _judge(self, name: str, base: Client, options: Options, suggestions: Suggestions) -> None:
        record = self._records.get(name)
        is_webhook = name.startswith(WEBHOOK_PREFIX)
        if is_webhook:
            self._webhooks.pop(name.removeprefix(WEBHOOK_PREFIX), None)
        self._faults.pop(name, None)
        if record is None:
            self._settings.pop(name, None)
            return
        known = self._settings.get(name)
        if known is None or known.saved is not record:
            self._settings[name] = Setting(name, record.value, record.origin, record)
        if is_webhook:
            self._judge_webhook(record, base, options, suggestions)
        elif name in base.settings:
            what = f"hidden by the value {record.origin}; {_unset(record)} brings it back"
            self._faults[name] = (Fault(base.settings[name].path, 0, "", what, is_warning=True),)

    def _judge_webhook(self, record: SavedSetting, base: Client, options: Options, suggestions: Suggestions) -> None:
        short_name = record.name.removeprefix(WEBHOOK_PREFIX)
        if record.name not in self._sources:
            self._sources[record.name] = _source_of(record)
        source, faults = self._sources[record.name]
        has_file = _has_file(base, record)
        user_name = None if source is None else source.user_name
        error = out_of_bounds(base.users, record.saver, user_name, record.name, has_file=has_file)
        if has_file:
            # Who reads the setting reads what the operator wrote; the saved value is only in the way.
            del self._settings[record.name]
        if error is not None:
            what = f"is past the bounds of a saved webhook and answers 503: {error}; {_unset(record)} removes it"
            faults = (Fault(record.location, 0, "", what), *faults)
        if error is not None or source is None:
            self._webhooks[short_name] = BrokenWebhook(base.name, short_name, record.location)
        else:
            webhook, warnings = derive_webhook(source, options, time.time)
            self._webhooks[short_name] = served(webhook, warnings)
            faults += warnings + reference_faults(source, base.users, base.flows, suggestions)
        if faults:
            self._faults[record.name] = faults


def _source_of(record: SavedSetting) -> tuple[WebhookSource | None, Faults]:
    short_name = record.name.removeprefix(WEBHOOK_PREFIX)
    by_flow = record.saver != OPERATOR
    return read_saved_webhook(record.value, record.location, record.client_name, short_name, by_flow=by_flow)


def _has_file(base: Client, record: SavedSetting) -> bool:
    # A file without any good version is among them, as a BrokenWebhook.
    return record.name.removeprefix(WEBHOOK_PREFIX) in base.webhooks


def _unset(record: SavedSetting) -> str:
    return f"`whd settings unset {record.name} --client {record.client_name}`"


def _without_location(fault: Fault) -> str:
    return str(fault).removeprefix(f"{fault.path}: ")
