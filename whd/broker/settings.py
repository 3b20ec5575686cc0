"""Calls on settings: read, saved, deleted, appended to, locked."""

from __future__ import annotations

from ..auth.permissions import Action, authorize, may
from ..pool.job import Job
from ..saved import SavedDone, SavedRecords
from .broker import Broker, CallHandler
from .call import CallError, FlowCall, json_bytes, not_found, times_json
from .locks import LockError, LockTable


class SettingCalls:
    """system.setting(name), system.settings(), and the methods of a setting."""

    def __init__(self, broker: Broker, saved: SavedRecords, locks: LockTable) -> None:
        self._broker = broker
        self._saved = saved
        self._locks = locks
        self.table: dict[str, CallHandler] = {
            "setting.get": self._get,
            "setting.exists": self._exists,
            "setting.times": self._times,
            "setting.list": self._list,
            "setting.save": self._save,
            "setting.delete": self._delete,
            "setting.list_append": self._list_append,
            "setting.acquire": self._acquire,
            "setting.release": self._release,
        }

    def forget(self, job: Job) -> None:
        """The job ended: what it holds is released."""
        self._locks.release_all(job)

    def _get(self, call: FlowCall) -> bytes:
        """{name}: the setting's value."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_SETTING, name)
        setting = client.settings.get(name)
        if setting is None:
            raise not_found(f"there is no setting {name!r}")
        return json_bytes(setting.value)

    def _exists(self, call: FlowCall) -> bytes:
        """{name}: whether the setting exists."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_SETTING, name)
        return json_bytes(name in client.settings)

    def _times(self, call: FlowCall) -> bytes:
        """{name}: when the setting came to be and was changed last. Of a file both are when it was written."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_SETTING, name)
        setting = client.settings.get(name)
        if setting is None:
            raise not_found(f"there is no setting {name!r}")
        saved = setting.saved
        if saved is None:
            return times_json(setting.modified_ms, setting.modified_ms)
        return times_json(saved.created_ms, saved.saved_ms)

    def _list(self, call: FlowCall) -> bytes:
        """The names of the settings that the user may read."""
        client, user = self._broker.who(call)
        return json_bytes(sorted(name for name in client.settings if may(user, Action.READ_SETTING, name)))

    def _save(self, call: FlowCall) -> None:
        """{name, value}: answered when it is on disk."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_SETTING, name)
        self._saved.setting_save(client.name, name, call.json("value"), user.name, self._when_done(call))

    def _delete(self, call: FlowCall) -> None:
        """{name}: deletes what was saved; answered when that is on disk."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_SETTING, name)
        self._saved.setting_delete(client.name, name, self._when_done(call))

    def _list_append(self, call: FlowCall) -> None:
        """{name, item}: answered when it is on disk. It neither gives nor needs the right to read the list."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_SETTING, name)
        self._saved.setting_list_append(client.name, name, call.json("item"), user.name, self._when_done(call))

    def _when_done(self, call: FlowCall) -> SavedDone:
        return self._broker.when_done(call)

    def _acquire(self, call: FlowCall) -> None:
        """{name, timeout}: answered when the execution alone holds the lock of that name."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_SETTING, name)

        def acquired(error: LockError | None) -> None:
            if error is None:
                self._broker.answer(call)
            else:
                self._broker.refuse(call, CallError(error.kind, error.detail))

        self._locks.acquire(client.name, name, call.job, call.number_or_none("timeout"), acquired)

    def _release(self, call: FlowCall) -> bytes:
        """{name}: lets the next one have the lock; harmless if the execution does not hold it."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_SETTING, name)
        self._locks.release(client.name, name, call.job)
        return b"null"
