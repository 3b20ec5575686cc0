"""What commands ask of the hub (admin.py says what there is): most a front does, some are summed up over all."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..admin.operations import list_executions
from ..errors import WhdError
from .link import Link, LinkLost
from .partition import owner
from .process import FrontState

if TYPE_CHECKING:
    from .hub import Hub


# How long a front may take for its part of what is summed up over all; one that hangs is left out.
PART_S: Final = 2.0
# Commands that change nothing: what one front does not answer another one can be asked.
READING: Final = frozenset({"executions.show", "executions.logs", "settings.list", "settings.show"})


class Operations:
    """`dispatch` is the control socket's."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._started = time.monotonic()
        self._turn = 0

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        """As Admin. Raises WhdError."""
        if command == "status":
            return await self._status()
        if command == "executions.list":
            return await list_executions(self._hub.store, arguments, self._lives)
        try:
            return await self._ask_front(self._link_for(arguments), command, arguments)
        except LinkLost:
            if command not in READING:
                raise
        return await self._ask_front(self._link_for(arguments), command, arguments)

    def _link_for(self, arguments: dict[str, Any]) -> Link:
        """The front of the execution that is named, else each in turn; another one if that does not answer."""
        hub = self._hub
        self._turn += 1
        count = len(hub.fronts)
        first = owner(str(arguments["id"]), count) if "id" in arguments else self._turn
        in_turn = [hub.fronts[(first + place) % count] for place in range(count)]
        for front in sorted(in_turn, key=lambda front: not front.answers):
            if front.link is not None and front.state in (FrontState.SERVING, FrontState.DRAINING):
                return front.link
        raise WhdError("no front process serves at the moment; the daemon starts another one")

    async def _ask_front(self, link: Link, command: str, arguments: dict[str, Any]) -> Any:
        head, value = await link.fetch("operate", command=command, arguments=arguments)
        if "error" in head:
            raise WhdError(head["error"])
        return json.loads(value or b"null")

    async def _lives(self) -> list[dict[str, Any]]:
        answers = await asyncio.gather(
            *(asyncio.wait_for(link.fetch("active"), PART_S) for link in self._hub.supervisor.serving_links()),
            return_exceptions=True,
        )
        return [row for answer in answers if not isinstance(answer, BaseException) for row in answer[0]["rows"]]

    async def _status(self) -> Any:
        hub = self._hub
        asked = await asyncio.gather(
            *(asyncio.wait_for(self._ask_front(link, "status", {}), PART_S) for link in hub.supervisor.serving_links()),
            return_exceptions=True,
        )
        told: list[dict[str, Any]] = []
        for answer in asked:
            if isinstance(answer, dict):
                told.append(answer)
            elif not isinstance(answer, (LinkLost, TimeoutError)):
                raise WhdError(f"a front process did not say how it is: {answer}")
        snapshot = hub.reloader.snapshot
        faults = [str(fault) for fault in snapshot.faults if not fault.is_warning]
        first = told[0] if told else {"faults": faults, "sandbox": []}
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "state": hub.phase.value,
            "addresses": hub.addresses,
            "processes": len(hub.fronts),
            "config": str(hub.paths.config),
            "flows": str(hub.paths.flows),
            "state_folder": str(hub.paths.state),
            "clients": len(snapshot.clients),
            "webhooks": sum(len(client.webhooks) for client in snapshot.clients.values()),
            "snapshot": snapshot.serial,
            "faults": first["faults"],
            "executions": {**_sum(told, "executions"), "places": hub.leases.total},
            "workers": _sum(told, "workers"),
            "refused_calls": sum(one["refused_calls"] for one in told),
            "buffered_bytes": sum(one["buffered_bytes"] for one in told),
            "store": asdict(hub.store.counters()),
            "sandbox": first["sandbox"],
            "fronts": [front.describe() for front in hub.fronts],
        }


# What is 0 while no front serves.
_NAMES = {"executions": ("started", "live", "running", "waiting"), "workers": ("total", "idle", "spare", "forked")}


def _sum(told: list[dict[str, Any]], name: str) -> dict[str, int]:
    names = told[0][name] if told else _NAMES[name]
    return {key: sum(one[name][key] for one in told) for key in names}
