"""What all connections of a server share: what is served, what limits them, and which of them there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..model.budget import BufferBudget
from ..model.options import Options
from .listeners import PUBLIC
from .messages import Application, ObserveAnswer

if TYPE_CHECKING:
    from .protocol import ClientProtocol


@dataclass(slots=True)
class ServerResources:
    """What all connections of a server share. `applications` by listener, see Server. `get_date` gives Date's value."""

    loop: asyncio.AbstractEventLoop
    applications: Mapping[str, Application]
    get_options: Callable[[], Options]
    budget: BufferBudget
    get_date: Callable[[], bytes]
    when_lost: Callable[[], None]
    observe_answer: ObserveAnswer | None = None
    opening: set[ClientProtocol] = field(default_factory=set)
    connections: set[ClientProtocol] = field(default_factory=set)
    is_draining: bool = False

    def application_of(self, listener: str) -> Application:
        """What is served on a listener of this name."""
        return self.applications.get(listener, self.applications[PUBLIC])
