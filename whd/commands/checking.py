"""`whd check`: everything that a start or a call would stumble over, found beforehand."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..budget import BufferBudget
from ..engine.state import Paths
from ..errors import StateError, WhdError
from ..futures import value_of
from ..model.snapshot import Fault, Flow, SavedSetting
from ..ownership import Account
from ..pool.compiler import Code, refusal_faults
from ..pool.pool import Pool
from ..pool.quota import WholeQuota
from ..saved import read_settings
from ..settings.index import Index
from . import explain


@dataclass(frozen=True, slots=True)
class Checked:
    """All faults and warnings, sorted by file and line, and what each webhook's user may do."""

    faults: list[Fault]
    webhooks: list[explain.Explanation]


async def check_everything(paths: Paths) -> Checked:
    """Reads all files, and every flow as the sandbox's compiler sees it."""
    saved: list[SavedSetting] = []
    unread: list[Fault] = []
    try:
        saved = read_settings(paths.state)
    except StateError as error:
        # The files may be fine all the same: they can be checked where state/ is another user's, or damaged.
        what = f"what flows saved was not checked: {error.log_detail}"
        unread = [Fault(str(paths.state), 0, "", what, is_warning=True)]
    index = Index(str(paths.config), str(paths.flows), saved=saved, daemon=_daemon_account(paths.state))
    snapshot = index.load()
    faults = unread + list(snapshot.faults)
    budget = BufferBudget(lambda: snapshot.options.max_buffered_bytes)
    flows = [flow for client in snapshot.clients.values() for flow in client.flows.values()]
    codes: dict[int, Code] = {}
    if flows:
        pool = Pool(asyncio.get_running_loop(), lambda: snapshot.options, budget, WholeQuota())
        try:
            await pool.start()
            for code, flow in zip(await asyncio.gather(*(_compile(pool, flow) for flow in flows)), flows, strict=True):
                faults += code_faults(flow, code)
                codes[id(flow)] = code
        except WhdError as error:
            faults.append(Fault(str(paths.config), 0, "", str(error)))
        finally:
            await pool.close()
    for client in snapshot.clients.values():
        faults += explain.undeclared_rights(
            client, lambda flow: codes[id(flow)].declared_uses if id(flow) in codes else ()
        )
    faults.sort(key=lambda fault: (fault.path, fault.line))
    return Checked(faults, explain.explanations(snapshot.clients))


def _daemon_account(state: Path) -> Account | None:
    """Whose the daemon is, as far as its folder says it: root's check of files is one of what that account can read."""
    try:
        return Account.owner_of(state) if os.geteuid() == 0 else None
    except OSError:
        return None


async def _compile(pool: Pool, flow: Flow) -> Code:
    return await value_of(partial(pool.compiler.compile, flow))


def code_faults(flow: Flow, code: Code) -> list[Fault]:
    """What the compiler refused or warned of, as faults of the flow's file."""
    faults = refusal_faults(flow, code.refusal) if code.refusal else []
    return faults + [Fault(flow.path, line, "", text, is_warning=True) for line, text in code.warnings]
