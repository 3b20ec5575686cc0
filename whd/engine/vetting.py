"""The settings of an Engine, whose flows are compiled before they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ..futures import value_of
from ..model.library import Library, Module
from ..model.snapshot import Fault, Flow, Snapshot, Source
from ..pool.compiler import CheckedModule, Code, Compiler, refusal_faults
from ..pool.linking import Unit
from ..settings.reload import Reloader
from .state import Paths


class VettedSettings:
    """A Reloader and the compiler that vets its flows: none until the pool is up, to which the settings come first."""

    def __init__(self, paths: Paths) -> None:
        self.reloader = Reloader(str(paths.config), str(paths.flows), vet_flows=self._vet_flows)
        self._compiler: Compiler | None = None
        self._task: asyncio.Task[None] | None = None

    def vet_with(self, compiler: Compiler, *, in_background: bool) -> None:
        """From here on changed flows and modules are compiled before they replace what serves.

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
            for module in client.library.modules.values():
                await self._check_module(compiler, module, client.library)
            for flow in client.flows.values():
                code = compiler.known(flow)
                if code is None or code.is_import_refused:
                    self._note(flow, await value_of(partial(compiler.compile, flow)))

    async def _check_module(self, compiler: Compiler, module: Module, library: Library) -> None:
        checked: CheckedModule = await value_of(partial(compiler.check_module, module, library))
        if checked.unit.refusal:
            self.reloader.flow_fault(module, refusal_faults(module, checked.unit.refusal)[0])
        fault = refusal_faults(module, checked.import_faults[0])[0] if checked.import_faults else None
        self.reloader.import_fault(module, library, fault)

    def _note(self, flow: Flow, code: Code) -> None:
        if code.refusal:
            self.reloader.refused(flow, refusal_faults(flow, code.refusal)[0], by_import=code.is_import_refused)

    async def _vet_flows(self, sources: Sequence[Source]) -> Sequence[Fault | None]:
        compiler = self._compiler
        if compiler is None:
            return [None] * len(sources)
        return await asyncio.gather(*(_vet(compiler, source) for source in sources))


async def _vet(compiler: Compiler, source: Source) -> Fault | None:
    """Compiles one flow or module by itself; the fault that keeps it from serving, if any."""
    if isinstance(source, Flow) and source.library is None:
        code: Code = await value_of(partial(compiler.compile, source))
        refusal = code.refusal
    else:
        # Whether it finds what it imports is nothing that an earlier version of it is kept for.
        unit: Unit = await value_of(partial(compiler.compile_source, source))
        refusal = unit.refusal
    return refusal_faults(source, refusal)[0] if refusal else None
