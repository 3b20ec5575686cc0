"""The operations of `whd settings`: what each setting is, where its value comes from, and an operator's own changes.

What an operator sets here is saved in state/ as what flows save is, and stands before the file of that name; his files
themselves are his alone to write. Secrets of webhooks leave this module masked.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..engine.engine import Engine
from ..errors import WhdError
from ..futures import done_of
from ..model.snapshot import OPERATOR, Client, Setting
from ..settings.webhooks import masked
from ..wire.timestamps import timestamp


class SettingOperations:
    """By the name that commands use; for Admin's table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.table: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "settings.list": self._list,
            "settings.show": self._show,
            "settings.set": self._set,
            "settings.unset": self._unset,
        }

    async def _list(self, arguments: dict[str, Any]) -> Any:
        """{client}, which may be null for all of them."""
        if arguments.get("client") is not None:
            clients = [self._client(arguments)]
        else:
            clients = [client for _, client in sorted(self._engine.snapshot.clients.items())]
        return [self._row(client, client.settings[name]) for client in clients for name in sorted(client.settings)]

    async def _show(self, arguments: dict[str, Any]) -> Any:
        """{client, name}."""
        client, name = self._client(arguments), arguments["name"]
        setting = client.settings.get(name)
        if setting is None:
            raise WhdError(f"{client.name} has no setting {name!r}; `whd settings list` shows all")
        return self._row(client, setting)

    async def _set(self, arguments: dict[str, Any]) -> Any:
        """{client, name, value}: the setting as it then is."""
        client, name = self._client(arguments), arguments["name"]
        value_json = json.dumps(arguments["value"]).encode("ascii")
        saved = self._engine.saved
        await done_of(lambda done: saved.setting_save(client.name, name, value_json, OPERATOR, done))
        return await self._show({"client": client.name, "name": name})

    async def _unset(self, arguments: dict[str, Any]) -> Any:
        """{client, name}: the operator's setting that stands again, null if there is none."""
        client, name = self._client(arguments), arguments["name"]
        await done_of(lambda done: self._engine.saved.setting_delete(client.name, name, done))
        after = self._client({"client": client.name})
        setting = after.settings.get(name)
        return None if setting is None else self._row(after, setting)

    def _client(self, arguments: dict[str, Any]) -> Client:
        """The client that is named, or the only one."""
        clients = self._engine.snapshot.clients
        name = arguments.get("client")
        if name is None and len(clients) == 1:
            return next(iter(clients.values()))
        there_are = f"there are: {', '.join(sorted(clients)[:20]) or 'none'}"
        if name is None:
            raise WhdError(f"--client says whose setting; {there_are}")
        client = clients.get(name)
        if client is None:
            raise WhdError(f"there is no client {name!r}; {there_are}")
        return client

    def _row(self, client: Client, setting: Setting) -> dict[str, Any]:
        saved = setting.saved
        file = self._engine.reloader.file_setting(client.name, setting.name)
        return {
            "client": client.name,
            "name": setting.name,
            "source": setting.path,
            "saved_by": None if saved is None else saved.saver or None,
            "saved_at": None if saved is None else timestamp(saved.saved_ms),
            "hides": file.path if saved is not None and file is not None else None,
            "value": masked(setting.name, setting.value),
        }
