"""The flow's `__import__`: facades for what flows have, the client's own modules, an ImportError for the rest.

C code inside the interpreter calls the running flow's `__import__` too (SANDBOX, trap 4: strptime asks for _strptime,
on 3.13 every time). It passes its fromlist as a list, which no import statement does, ignores the answer, and takes
the module from sys.modules itself; so it is answered with None, and only for what was loaded beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .helper_modules import HelperModule, missing
from .lib_imports import is_lib
from .modules import FACADES, RUN_FACADES, importable_names
from .modules.facade import Facade, public_names
from .refusals import module_instead
from .running import RUN_NAME

# What a flow changes through these is put back at its end.
RESET_MODULES = frozenset({"decimal", "typing"})


def flow_import(
    name: str,
    namespace: Mapping[str, Any] | None = None,
    _locals: Any = None,
    fromlist: Any = None,
    level: int = 0,
    /,
) -> Any:
    """What an import statement of a flow calls. Raises ImportError."""
    if type(fromlist) is list:
        if name in sys.modules:
            return None
        raise ImportError(f"flows have no module {name!r}") from None
    if level or namespace is None:
        raise ImportError("flows have no packages to import from; call another flow with this.flow(name)") from None
    run = namespace.get(RUN_NAME)
    if is_lib(name):
        return _find_in_lib(name, fromlist, run)
    facade = _find(name, run)
    if fromlist:
        for wanted in fromlist:
            if wanted[:1] == "_" or wanted not in facade.__dict__:
                raise ImportError(
                    f"flows have no {wanted!r} in the module {name!r}; it has: {', '.join(public_names(facade))}"
                ) from None
        return facade
    top, _dot, rest = name.partition(".")
    return _find(top, run) if rest else facade


def _find_in_lib(name: str, wanted: Any, run: Any) -> HelperModule:
    loader = None if run is None else run.modules
    if loader is None:
        raise missing(name.partition(".")[2] or (wanted or ("",))[0], ()) from None
    return loader.find(name, wanted)  # type: ignore[no-any-return]  # a Run's ModuleLoader


def _find(name: str, run: Any) -> Facade:
    facade = FACADES.get(name)
    if facade is not None:
        if name in RESET_MODULES and run is not None:
            run.facades[name] = facade  # noted, for the end of the run (program.py)
        return facade
    make = RUN_FACADES.get(name)
    if make is None or run is None:
        instead = module_instead(name)
        raise ImportError(
            f"flows have no module {name!r}; {f'{instead}; ' if instead else ''}they have: "
            f"{', '.join(importable_names())}"
        ) from None
    made = run.facades.get(name)
    if made is None:
        made = run.facades[name] = make(run)
    return made  # type: ignore[no-any-return]  # what RUN_FACADES makes
