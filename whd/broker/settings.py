"""Calls on settings."""

from __future__ import annotations

from ..auth.permissions import Action, authorize
from .broker import Broker, Handler
from .call import Call, json_bytes, not_found


class SettingCalls:
    """system.setting(name) and what hangs on it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.table: dict[str, Handler] = {"setting.get": self._get, "setting.exists": self._exists}

    def _get(self, call: Call) -> bytes:
        """{name}: the setting's value."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_SETTING, name)
        setting = client.settings.get(name)
        if setting is None:
            raise not_found(f"there is no setting {name!r}")
        return json_bytes(setting.value)

    def _exists(self, call: Call) -> bytes:
        """{name}: whether there is such a setting."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_SETTING, name)
        return json_bytes(name in client.settings)
