"""Which delivery is the first with its id, as one front asks the hub: the far end of store/deliveries.py.

FrontDeliveries is the front's side, DeliverySession the hub's, one for each life of a front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import StateError, WhdError
from ..model.delivery import Delivery, read_delivery
from ..model.execution import Status
from ..store.interface import Conflict, Decided, DeliveryTable, Repeat, Reserved
from .link import Handlers, Link, LinkLost, Message
from .records import error_member, read_error


class FrontDeliveries(DeliveryTable):
    """The table as one front has it. `send`: sends the records that have gathered, which the hub is to know before."""

    def __init__(self, link: Link, send: Callable[[], None]) -> None:
        self._link = link
        self._send = send

    def reserve(
        self,
        delivery: Delivery,
        decided: Decided,
        *,
        instead_of: str = "",
        is_unique: bool = False,
        holder: object = None,
    ) -> None:
        def answered(head: dict[str, Any] | None, _value: bytes | None) -> None:
            decided(LinkLost("the daemon is stopping") if head is None else _read_outcome(head))

        if instead_of:
            self._send()
        self._link.ask(answered, "reserve", delivery=delivery.to_text(), instead_of=instead_of, is_unique=is_unique)

    def begin(self, number: int, execution_id: str) -> None:
        self._link.tell("reserve.begin", number=number, id=execution_id)

    def release(self, number: int) -> None:
        self._link.tell("reserve.release", number=number)

    def abandon(self, holder: object) -> None:
        """The hub does that when this front is gone."""


class DeliverySession:
    """One life of one front: what it reserved is free once it is gone."""

    def __init__(self, table: Callable[[], DeliveryTable]) -> None:
        self._table = table
        self.handlers: Handlers = {
            "reserve": self._on_reserve,
            "reserve.begin": lambda message: table().begin(message.head["number"], message.head["id"]),
            "reserve.release": lambda message: table().release(message.head["number"]),
        }

    def _on_reserve(self, message: Message) -> None:
        head = message.head
        self._table().reserve(
            read_delivery(head["delivery"]),
            lambda outcome: message.answer(**_outcome_members(outcome)),
            instead_of=head["instead_of"],
            is_unique=head["is_unique"],
            holder=self,
        )

    def close(self) -> None:
        """The front is gone."""
        self._table().abandon(self)


def _outcome_members(outcome: Reserved | Repeat | Conflict | Exception) -> dict[str, Any]:
    if isinstance(outcome, Reserved):
        return {"number": outcome.number, "is_reused": outcome.is_reused}
    if isinstance(outcome, Repeat):
        return {"id": outcome.execution_id, "status": outcome.status}
    if isinstance(outcome, Conflict):
        return {}
    return {"error": error_member(outcome if isinstance(outcome, WhdError) else StateError(str(outcome)))}


def _read_outcome(head: dict[str, Any]) -> Reserved | Repeat | Conflict | Exception:
    if "error" in head:
        return read_error(head["error"])
    if "number" in head:
        return Reserved(head["number"], head["is_reused"])
    return Repeat(head["id"], Status(head["status"])) if "id" in head else Conflict()
