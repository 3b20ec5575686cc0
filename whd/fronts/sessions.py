"""What the hub does for fronts: the other end of remote.py. One Session for each life of a front, gone with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from ..broker.locks import LockError, Locks
from ..errors import StateError, WhdError
from ..model.snapshot import SavedSetting, Setting
from ..saved import Saved, SavedOverlay
from ..settings.overlay import SavedChange
from ..settings.reload import Reloader
from ..store import ExecutionStore
from .deliveries import DeliverySession
from .leases import LeaseGrant, PermitQueue, SlotLeases, Used
from .link import Handlers, Link, LinkLost, Message
from .partition import owner
from .process import FrontProcess, FrontState
from .records import error_member, stored_members, unpack

log = logging.getLogger("whd.fronts")


class Supervisor(SavedOverlay):
    """What all sessions share; as SavedOverlay it makes what is saved live in every front. `fronts` by number."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reloader: Reloader,
        leases: SlotLeases,
        fronts: list[FrontProcess],
    ) -> None:
        self.loop = loop
        self.leases = leases
        self.fronts = fronts
        self.locks = Locks(loop.call_later)
        # Both set by the owner before the first session: each is made with the other.
        self.store: ExecutionStore
        self.saved: Saved
        self._reloader = reloader
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: list[Callable[[], None]] = []
        self.permits = PermitQueue(self._ask_others, lambda: leases.total)

    # ---- SavedOverlay: what is saved is live in every front ----------------------------------------------------------

    def take_saved(self, changes: Iterable[SavedChange]) -> None:
        taken = list(changes)
        self._reloader.take_saved(taken)
        members = [change_member(*change) for change in taken]
        for link in self.links():
            link.tell("setting", changes=members)

    def file_setting(self, client_name: str, name: str) -> Setting | None:
        return self._reloader.file_setting(client_name, name)

    def check_saved_webhook(self, record: SavedSetting) -> None:
        self._reloader.check_saved_webhook(record)

    def settle(self, done: Callable[[], None]) -> None:
        """Calls `done` once every front that is not stuck has taken in all changes sent to it by now."""
        if not self._settling:
            self.loop.call_soon(self._ask_all)
        self._settling.append(done)

    def _ask_all(self) -> None:
        settling, self._settling = self._settling, []
        links = [front.link for front in self.fronts if front.link is not None and front.hears and front.answers]
        left = len(links)

        def one_answered(_head: dict[str, Any] | None, _value: bytes | None) -> None:
            # One that is gone or stuck counts too: a stuck one takes the changes in once it goes on.
            nonlocal left
            left -= 1
            if left <= 0:
                for done in settling:
                    done()

        if not links:
            one_answered(None, None)
        for link in links:
            link.ask(one_answered, "settle")

    # ---- the fronts --------------------------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        """The links of all fronts that run now."""
        return [front.link for front in self.fronts if front.link is not None]

    def serving_links(self) -> list[Link]:
        """The links of the fronts that have come up: one that starts has nothing yet that could be asked about."""
        states = (FrontState.SERVING, FrontState.DRAINING)
        return [front.link for front in self.fronts if front.link is not None and front.state in states]

    def send_leases(self, grants: list[LeaseGrant]) -> None:
        """Sends each front what SlotLeases granted it."""
        for front, slots, number in grants:
            link = self.fronts[front].link
            if link is not None:
                link.tell("lease", slots=slots, number=number)

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what an answer needs time for."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ask_others(self, number: int, client_name: str, answered: Callable[[Used], None]) -> None:
        """What PermitQueue calls: asks all fronts but one whether the client runs something there."""
        others = [front for front in self.fronts if front.number != number and front.link is not None]
        links = [front.link for front in others if front.link is not None and front.answers]
        left = len(links)
        # Of one that is stuck: what it has counted; whose that is, it cannot say.
        has_slot, running = False, sum(front.running for front in others if not front.answers)

        def one_answered(head: dict[str, Any] | None, _value: bytes | None) -> None:
            nonlocal left, has_slot, running
            left -= 1
            if head is not None:  # else that front is gone, and all that ran there, or is stuck
                has_slot, running = has_slot or head["has_slot"], running + head["running"]
            if left <= 0:
                answered((has_slot, running))

        if not links:
            one_answered(None, None)
        for link in links:
            link.ask(one_answered, "used", client=client_name)


class FrontSession:
    """One life of one front."""

    def __init__(self, supervisor: Supervisor, front: FrontProcess) -> None:
        self._supervisor = supervisor
        self._front = front
        self._life = front.life + 1
        self._scripts: dict[str, str] = {}
        self._accepted: list[int] = []
        self._refused: list[Any] = []
        # Of the holders of locks, or who waits for one: the questions that are open.
        self._holders: dict[int, list[Message]] = {}
        self._deliveries = DeliverySession(lambda: supervisor.store.deliveries)
        self.handlers: Handlers = {
            **self._deliveries.handlers,
            "script": self._on_script,
            "scripts.forget": lambda _message: self._scripts.clear(),
            "save": self._on_save,
            "flush": lambda message: supervisor.start_task(self._flush(message)),
            "get": lambda message: supervisor.start_task(self._find(message, "find")),
            "wait": lambda message: supervisor.start_task(self._find(message, "wait", wait_s=message.head["wait_s"])),
            "cancel": lambda message: supervisor.start_task(
                self._find(message, "cancel", text=message.head["message"])
            ),
            "saved": self._on_saved,
            "lock": self._on_lock,
            "unlock": self._on_unlock,
            "slots": self._on_slots,
            "permit": lambda message: supervisor.permits.ask(
                front.number, message.head["client"], message.head["running"], lambda may: message.answer(may=may)
            ),
        }

    def greet(self, link: Link) -> None:
        """Sends a front that has started what it must know before it reads its settings."""
        changes = [
            change_member(record.client_name, record.name, record) for record in self._supervisor.saved.settings()
        ]
        link.tell("setting", changes=changes)
        link.tell("greeted")

    def close(self) -> None:
        """The front is gone: what it held is free."""
        for holder in list(self._holders):
            self._release_all(holder)
        self._deliveries.close()

    # ---- executions --------------------------------------------------------------------------------------------------

    def _on_script(self, message: Message) -> None:
        self._scripts[message.head["hash"]] = message.head["source"]

    def _on_save(self, message: Message) -> None:
        accepts = dict(message.head["accepts"])
        store = self._supervisor.store
        for index, row in enumerate(unpack(message.head["rows"], message.value)):
            script = self._scripts.get(row.script_hash)
            number = accepts.get(index)
            if number is None:
                store.save_row(row, script)
            else:
                store.accept_row(row, script, partial(self._on_accepted, number))

    def _on_accepted(self, number: int, error: Exception | None) -> None:
        if not self._accepted and not self._refused:
            self._supervisor.loop.call_soon(self._send_accepted)
        if error is None:
            self._accepted.append(number)
        else:
            self._refused.append([number, error_member(_known(error))])

    def _send_accepted(self) -> None:
        accepted, self._accepted = self._accepted, []
        refused, self._refused = self._refused, []
        link = self._front.link
        if link is not None and self._front.life == self._life:
            link.tell("saved", done=accepted, refused=refused)

    async def _flush(self, message: Message) -> None:
        try:
            await self._supervisor.store.flush()
        except StateError as error:
            message.answer(error=error_member(error))
        else:
            message.answer()

    async def _find(self, message: Message, op: str, **members: Any) -> None:
        """An execution as it stands with the front that runs it, or else in the store."""
        execution_id = message.head["id"]
        front = self._supervisor.fronts[owner(execution_id, len(self._supervisor.fronts))]
        # Of a front that is stuck, what is on disk is better than nothing; but nobody else can cancel.
        if front is not self._front and front.link is not None and (front.answers or op == "cancel"):
            try:
                head, value = await front.link.fetch(op, id=execution_id, **members)
            except LinkLost:
                head, value = {}, None
            if head.get("rows"):
                message.answer(value, rows=head["rows"], script=head["script"], is_live=True)
                return
        try:
            found, value = stored_members(await self._supervisor.store.get(execution_id))
        except StateError as error:
            message.answer(error=error_member(error))
        else:
            message.answer(value, **found)

    # ---- what is saved, locks, slots ---------------------------------------------------------------------------------

    def _on_saved(self, message: Message) -> None:
        head, saved = message.head, self._supervisor.saved

        def done(error: WhdError | None) -> None:
            if error is None:
                self._supervisor.settle(message.answer)
            else:
                message.answer(error=error_member(error))

        what, client_name, name, saver = head["what"], head["client"], head["name"], head["saver"]
        value = message.value if message.value is not None else b""
        try:
            if what == "setting_save":
                saved.setting_save(client_name, name, value, saver, done)
            elif what == "setting_list_append":
                saved.setting_list_append(client_name, name, value, saver, done)
            elif what == "setting_delete":
                saved.setting_delete(client_name, name, done)
            elif what == "file_save":
                saved.file_save(client_name, name, value, saver, done, is_text=head["is_text"])
            else:
                saved.file_delete(client_name, name, done)
        except WhdError as error:
            message.answer(error=error_member(error))

    def _holder(self, number: int) -> tuple[int, int, int]:
        return self._front.number, self._life, number

    def _on_lock(self, message: Message) -> None:
        head = message.head
        number = head["holder"]
        open_questions = self._holders.setdefault(number, [])
        open_questions.append(message)

        def acquired(error: LockError | None) -> None:
            open_questions.remove(message)
            if error is None:
                message.answer()
            else:
                message.answer(error=[error.kind, error.detail])

        self._supervisor.locks.acquire(head["client"], head["name"], self._holder(number), head["timeout_s"], acquired)

    def _on_unlock(self, message: Message) -> None:
        head = message.head
        if "name" in head:
            self._supervisor.locks.release(head["client"], head["name"], self._holder(head["holder"]))
        else:
            self._release_all(head["holder"])

    def _release_all(self, number: int) -> None:
        self._supervisor.locks.release_all(self._holder(number))
        for message in self._holders.pop(number, []):
            # Nobody hears it; the question is closed.
            message.answer(error=["CloudomationException", "the execution has ended"])

    def _on_slots(self, message: Message) -> None:
        head = message.head
        self._supervisor.send_leases(
            self._supervisor.leases.report(
                self._front.number, wants=head["wants"], held=head["held"], number=head["number"]
            )
        )


def _known(error: Exception) -> WhdError:
    return error if isinstance(error, WhdError) else StateError(str(error))


def change_member(client_name: str, name: str, record: SavedSetting | None) -> list[Any]:
    """A saved change as JSON; remote.py reads it."""
    if record is None:
        return [client_name, name, None]
    return [client_name, name, [record.value_json.decode(), record.saver, record.saved_ms, record.created_ms]]
