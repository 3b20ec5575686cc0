"""config/ and flows/ of a test, written file by file."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from whd.auth.callers import KeyCheck
from whd.model.snapshot import Client, Snapshot, Webhook
from whd.settings.reload import Reloader, VetFlows

WEBHOOK = 'flow_name: signup\nuser_name: kevin\nkey: "{key}"\n'
USERS = "kevin:\n  flows: [signup]\n"
FLOW = "def handler(system, this):\n    return this.success('{text}')\n"
PATIENCE_S = 10.0


class Tree:
    """The two folders below one, with the client acme, its user kevin and its flow signup unless `bare`."""

    def __init__(self, base: Path, *, bare: bool = False) -> None:
        self.config = base / "config"
        self.flows = base / "flows"
        self.config.mkdir(parents=True)
        self.flows.mkdir()
        if not bare:
            self.write("config/acme/users.yaml", USERS)
            self.write("flows/acme/signup.py", FLOW.format(text="one"))

    def path(self, name: str) -> Path:
        """config/… or flows/… as a path."""
        return self.config.parent / name

    def write(self, name: str, text: str | bytes, *, mode: int = 0o640) -> Path:
        """Writes a file as an editor does that replaces it: whole, under another name, renamed."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.parent / f".{path.name}.new"
        new.write_bytes(text.encode() if isinstance(text, str) else text)
        new.chmod(mode)
        os.rename(new, path)
        return path

    def webhook_path(self, name: str, client: str = "acme") -> Path:
        """The file of a webhook."""
        return self.path(f"config/{client}/settings/client.webhook.{name}.yaml")

    def webhook(self, name: str, *, key: str = "k", client: str = "acme") -> Path:
        """Writes a webhook that is fine."""
        path = self.webhook_path(name, client)
        return self.write(str(path.relative_to(self.config.parent)), WEBHOOK.format(key=key))


@contextmanager
def open_tree() -> Iterator[Tree]:
    """A tree that every user of this machine may enter: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        tree = Tree(base)
        for folder in (tree.config, tree.flows):
            folder.chmod(0o755)
        yield tree


class Watched:
    """A started Reloader and every snapshot that it swapped in."""

    def __init__(self, reloader: Reloader) -> None:
        self.reloader = reloader
        self.snapshots = [reloader.snapshot]
        self._swapped = asyncio.Event()
        reloader.on_swap.append(self._on_swap)

    def _on_swap(self, old: Snapshot, new: Snapshot) -> None:
        assert old is self.snapshots[-1]
        self.snapshots.append(new)
        self._swapped.set()

    @property
    def snapshot(self) -> Snapshot:
        return self.reloader.snapshot

    def client(self, name: str = "acme") -> Client:
        """A client of the present snapshot."""
        return self.snapshot.clients[name]

    async def until(self, holds: Callable[[Snapshot], object]) -> Snapshot:
        """Waits for a swap after which `holds` of the snapshot."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(self.snapshot):
                self._swapped.clear()
                await self._swapped.wait()
        return self.snapshot

    async def until_key(self, name: str, key: str, client: str = "acme") -> Webhook:
        """Waits until a webhook serves with this key."""
        await self.until(lambda snapshot: keys_of(snapshot, name, client) == (key.encode(),))
        webhook = self.snapshot.clients[client].webhooks[name]
        assert isinstance(webhook, Webhook)
        return webhook

    async def until_gone(self, name: str, client: str = "acme") -> None:
        """Waits until a webhook is gone."""
        await self.until(lambda snapshot: keys_of(snapshot, name, client) is None)


def keys_of(snapshot: Snapshot, name: str, client: str = "acme") -> tuple[bytes, ...] | None:
    """The keys of a webhook that serves; None if there is none."""
    found = snapshot.clients.get(client)
    webhook = None if found is None else found.webhooks.get(name)
    check = webhook.caller_check if isinstance(webhook, Webhook) else None
    return check.keys if isinstance(check, KeyCheck) else None


@asynccontextmanager
async def watching(tree: Tree, *, polls: bool = False, vet_flows: VetFlows | None = None) -> AsyncIterator[Watched]:
    """A reloader on the tree for the time of the block."""
    reloader = Reloader(str(tree.config), str(tree.flows), polls=polls, vet_flows=vet_flows)
    await reloader.start()
    try:
        yield Watched(reloader)
    finally:
        reloader.close()
