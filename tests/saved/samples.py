"""A Saved over a tree of files, open for a block; and its callbacks as futures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.settings.trees import Tree, Watched, watching
from whd.errors import WhdError
from whd.model.options import Options
from whd.model.snapshot import Client, Setting
from whd.saved import Saved
from whd.settings.reload import Reloader

USERS = """
kevin:
  flows: [signup]
  settings: {write: ["*", "client.webhook.*"]}
  act_as: [robot]
robot:
  flows: [signup]
admin:
  flows: ["*"]
  settings: {read: ["*"], write: ["*"]}
"""
WEBHOOK = {"flow_name": "signup", "user_name": "kevin", "key": "s3cr3t"}


class World:
    """A Saved whose overlay is a real Reloader on a real tree."""

    def __init__(self, saved: Saved, watched: Watched, tree: Tree) -> None:
        self.saved = saved
        self.reloader: Reloader = watched.reloader
        self.tree = tree
        self._watched = watched

    @property
    def client(self) -> Client:
        """acme in the present snapshot."""
        return self.reloader.snapshot.clients["acme"]

    @property
    def faults(self) -> list[str]:
        """Those of the present snapshot, as an operator reads them."""
        return [str(fault) for fault in self.reloader.snapshot.faults]

    def value(self, name: str) -> Any:
        """What a flow would read now."""
        setting: Setting = self.client.settings[name]
        return setting.value

    async def until(self, holds: Callable[[Client], object]) -> None:
        """Waits until acme is so, after files were written."""
        await self._watched.until(lambda snapshot: "acme" in snapshot.clients and holds(snapshot.clients["acme"]))

    async def write_setting(self, name: str, text: str) -> Path:
        """Writes an operator's setting and waits until it is read."""
        path = self.tree.write(f"config/acme/settings/{name}.yaml", text)
        await self._watched.until(lambda _: self.reloader.file_setting("acme", name) is not None)
        return path

    async def save(self, name: str, value: Any, saver: str = "kevin") -> None:
        """Saves a setting. Raises what the flow would get."""
        await done(lambda f: self.saved.setting_save("acme", name, json.dumps(value).encode(), saver, f))

    async def append(self, name: str, item: Any, saver: str = "kevin") -> None:
        await done(lambda f: self.saved.setting_list_append("acme", name, json.dumps(item).encode(), saver, f))

    async def delete(self, name: str) -> None:
        await done(lambda f: self.saved.setting_delete("acme", name, f))

    async def save_file(self, name: str, content: bytes | str, client: str = "acme") -> None:
        await done(lambda f: self.saved.file_save(client, name, content, "kevin", f))

    async def delete_file(self, name: str) -> None:
        await done(lambda f: self.saved.file_delete("acme", name, f))

    async def file(self, name: str, client: str = "acme") -> Any:
        return await answered(lambda f: self.saved.file_get(client, name, f))

    async def files(self, **wanted: Any) -> list[str]:
        found: list[str] = await answered(lambda f: self.saved.file_list("acme", f, **wanted))
        return found


def done(start: Callable[[Callable[[WhdError | None], None]], None]) -> asyncio.Future[None]:
    """Waits for a change's end; what refuses it at once is raised at once."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    start(lambda error: future.set_result(None) if error is None else future.set_exception(error))
    return future


def answered(start: Callable[[Callable[[Any, Exception | None], None]], None]) -> asyncio.Future[Any]:
    """Waits for what was asked."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    start(lambda result, error: future.set_result(result) if error is None else future.set_exception(error))
    return future


@contextlib.asynccontextmanager
async def world(base: Path, *, polls: bool = False, **options: Any) -> AsyncIterator[World]:
    """The tree below `base` is made at the first time; state/ stands beside it."""
    is_new = not (base / "config").exists()
    tree = Tree(base) if is_new else Tree.__new__(Tree)
    tree.config, tree.flows = base / "config", base / "flows"
    if is_new:
        tree.write("config/acme/users.yaml", USERS)
    async with watching(tree, polls=polls) as watched:
        saved = Saved(
            base / "state",
            asyncio.get_running_loop(),
            lambda: replace(Options(), **options),
            watched.reloader,
        )
        saved.open()
        try:
            yield World(saved, watched, tree)
        finally:
            await saved.close()
