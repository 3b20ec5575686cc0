"""Methods of library classes that write to their `self` are held to instances of their class.

Python lets everybody call `Class.method(anything)`. So a flow could write attributes of what all executions share: of a
function of a module, of a member of an enum. Methods that only read, and private ones, which flows cannot name, stay.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable
from typing import Any

_WRITES = frozenset({"STORE_ATTR", "DELETE_ATTR"})


def hold_methods(kinds: Iterable[type]) -> None:
    """Replaces such methods in these classes and the classes above them, once for the life of the process."""
    for kind in {above for offered in kinds for above in type.mro(offered)}:
        for name, method in list(vars(kind).items()):
            if type(method) is types.FunctionType and not name.startswith("_") and _writes(method):
                setattr(kind, name, _held(method, kind))


def _writes(method: types.FunctionType) -> bool:
    return any(instruction.opname in _WRITES for instruction in dis.get_instructions(method))


def _held(method: types.FunctionType, kind: type) -> Any:
    @functools.wraps(method)
    def held(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not issubclass(type(self), kind):  # isinstance() would ask `self`, which may lie
            raise TypeError(f"{kind.__name__}.{method.__name__} is for instances of {kind.__name__}") from None
        return method(self, *args, **kwargs)

    # wraps() leaves a reference to the original.
    del held.__dict__["__wrapped__"]
    return held
