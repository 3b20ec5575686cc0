"""What a flow sees as `system`, `this` and `import flow_api`, put together from api/."""

from __future__ import annotations

from typing import Any

from .api.executions import Execution
from .api.records import Client, File, Flow, Setting, User
from .api.system import ReturnWhen, Status, System
from .api.this import This, deferred
from .errors import ERRORS
from .guards import read_attribute
from .modules.facade import Facade, make_facade
from .run import Run

# Scripts of 2021 write flow_api.exceptions.DependencyFailedError.
EXCEPTIONS: Facade = make_facade("flow_api.exceptions", ERRORS)
FLOW_API: Facade = make_facade(
    "flow_api",
    {
        "System": System,
        "Execution": Execution,
        "ReturnWhen": ReturnWhen,
        "Status": Status,
        "Setting": Setting,
        "File": File,
        "Flow": Flow,
        "User": User,
        "Client": Client,
        **ERRORS,
        "exceptions": EXCEPTIONS,
    },
)


def api_objects(run: Run) -> tuple[System, This]:
    """The two objects that a handler gets."""
    system: System = object.__new__(System)
    system._run = run
    this: This = object.__new__(This)
    this._run = run
    return system, this


def read_deferred(holder: Any, name: str) -> Any:
    """`_deferred_`: reads `flow`, `task` or `connect` where the child is started later (deferred_starts.py)."""
    return deferred(holder, name) if type(holder) is This else read_attribute(holder, name)
