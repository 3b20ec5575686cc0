"""The settings of an Engine, whose flows are compiled before they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ..futures import value_of
from ..model.snapshot import Fault, Flow, Snapshot
from ..pool.compiler import Code, Compiler, refusal_faults
from ..settings.reload import Reloader
from .state import Paths


class VettedSettings:
    """A Reloader and the compiler that vets its flows: none until the pool is up, to which the settings come first."""

    def __init__(self, paths: Paths) -> None:
        self.reloader = Reloader(str(paths.config), str(paths.flows), vet_flows=self._vet_flows)
        self._compiler: Compiler | None = None
        self._task: asyncio.Task[None] | None = None

    def vet_with(self, compiler: Compiler, *, in_background: bool) -> None:
        """From here on changed flows are compiled before they replace what serves.

        `in_background`: so are all others, one after the other, so that a fault is known before the first call.
        """
        self._compiler = compiler
        if in_background:
            self.reloader.on_swap.append(lambda _old, new: self._begin_all(compiler, new))
            self._begin_all(compiler, self.reloader.snapshot)

    def close(self) -> None:
        """Ends watching and vetting. The last snapshot stays. Harmless twice."""
        if self._task is not None:
            self._task.cancel()
        self.reloader.close()

    def _begin_all(self, compiler: Compiler, snapshot: Snapshot) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._vet_all(compiler, snapshot))

    async def _vet_all(self, compiler: Compiler, snapshot: Snapshot) -> None:
        for client in snapshot.clients.values():
            for flow in client.flows.values():
                if compiler.known(flow) is None:
                    fault = await _vet(compiler, flow)
                    if fault is not None:
                        self.reloader.flow_fault(flow, fault)

    async def _vet_flows(self, flows: Sequence[Flow]) -> Sequence[Fault | None]:
        compiler = self._compiler
        if compiler is None:
            return [None] * len(flows)
        return await asyncio.gather(*(_vet(compiler, flow) for flow in flows))


async def _vet(compiler: Compiler, flow: Flow) -> Fault | None:
    """Compiles one flow; the fault that keeps it from serving, if any."""
    code: Code = await value_of(partial(compiler.compile, flow))
    return refusal_faults(flow, code.refusal)[0] if code.refusal else None
