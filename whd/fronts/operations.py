"""What commands ask of the hub, which are admin/operations.py's: most a front does, some are summed up over all."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from ..admin.operations import list_executions
from ..engine.report import Report
from ..engine.status import DaemonFacts, status_document
from ..errors import WhdError
from .link import Link, LinkLost
from .partition import owner
from .process import FrontState

if TYPE_CHECKING:
    from .hub import Hub


# How long a front may take for its part of what is summed up over all; one that hangs is left out.
PART_S: Final = 2.0
# Commands that change nothing: what one front does not answer another one can be asked.
READING: Final = frozenset(
    {"executions.show", "executions.logs", "settings.list", "settings.show", "webhooks", "webhooks.example"}
)


class Operations:
    """`dispatch` is the control socket's."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._started = time.monotonic()
        self._turn = 0

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        """Does a command of admin/operations.py, here or in a front. Raises WhdError."""
        if command == "status":
            return await self._status()
        if command == "executions.list":
            return await list_executions(self._hub.store, arguments, self._others_active)
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
        in_turn = [hub.fronts[(first + index) % count] for index in range(count)]
        for front in sorted(in_turn, key=lambda front: not front.answers):
            if front.link is not None and front.state in (FrontState.SERVING, FrontState.DRAINING):
                return front.link
        raise WhdError("no front process serves at the moment; the daemon starts another one")

    async def _ask_front(self, link: Link, command: str, arguments: dict[str, Any]) -> Any:
        head, value = await link.fetch("operate", command=command, arguments=arguments)
        if "error" in head:
            raise WhdError(head["error"])
        return json.loads(value or b"null")

    async def _others_active(self) -> list[dict[str, Any]]:
        answers = await asyncio.gather(
            *(asyncio.wait_for(link.fetch("active"), PART_S) for link in self._hub.supervisor.serving_links()),
            return_exceptions=True,
        )
        return [row for answer in answers if not isinstance(answer, BaseException) for row in answer[0]["rows"]]

    async def _status(self) -> Any:
        hub = self._hub
        facts = DaemonFacts(
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            state=hub.phase.value,
            addresses=hub.addresses,
            processes=len(hub.fronts),
            paths=hub.paths,
        )
        report = sum(await self._front_reports(), Report()) + hub.own_report()
        return status_document(report, facts, [front.row() for front in hub.fronts])

    async def _front_reports(self) -> list[Report]:
        """Of the fronts that answer, by number."""
        answers = await asyncio.gather(
            *(asyncio.wait_for(link.fetch("report"), PART_S) for link in self._hub.supervisor.serving_links()),
            return_exceptions=True,
        )
        reports = []
        for answer in answers:
            if not isinstance(answer, BaseException):
                reports.append(Report.from_dict(answer[0]["report"]))
            elif not isinstance(answer, (LinkLost, TimeoutError)):
                raise WhdError(f"a front process did not say how it is: {answer}")
        return reports
