"""Methods of library classes are held to instances of their class.

Python lets everybody call `Class.method(anything)`. So a flow could have the library do with any object what only its
own objects are good for: write attributes of what all executions share (a function of a module, a member of an enum),
or ask for its class and call that, which for a class is `type` itself (`collections.UserList.copy(int)`). Methods that
do no more than read attributes of `self` stay as they are; private ones flows cannot name.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable
from typing import Any

# With these alone a function reads what is plainly there, and gives it back.
_READS_ONLY = frozenset(
    dis.opmap[name]
    for name in "RESUME LOAD_FAST LOAD_ATTR LOAD_CONST RETURN_VALUE RETURN_CONST BUILD_TUPLE CACHE NOP".split()
    if name in dis.opmap
)


def hold_methods(kinds: Iterable[type]) -> None:
    """Replaces the methods and properties of these classes and the classes above them, for the life of the process."""
    for kind in {above for offered in kinds for above in type.mro(offered)}:
        for name, attribute in list(vars(kind).items()):
            if not name.startswith("_"):
                held = _held_attribute(attribute, kind)
                if held is not attribute:
                    setattr(kind, name, held)


def _held_attribute(attribute: Any, kind: type) -> Any:
    if type(attribute) is types.FunctionType:
        return _held(attribute, kind)
    if type(attribute) is property:
        read, write, delete = (_held(part, kind) for part in (attribute.fget, attribute.fset, attribute.fdel))
        return property(read, write, delete, attribute.__doc__)
    if type(attribute) is functools.cached_property:
        attribute.func = _held(attribute.func, kind)
    return attribute


def _held(method: Any, kind: type) -> Any:
    if type(method) is not types.FunctionType or not does_more_than_read(method):
        return method

    @functools.wraps(method)
    def held(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kind not in type(self).__mro__:  # isinstance() would ask `self`, and an ABC its register
            raise TypeError(f"{kind.__name__}.{method.__name__} is for instances of {kind.__name__}") from None
        return method(self, *args, **kwargs)

    # wraps() leaves a reference to the original.
    del held.__dict__["__wrapped__"]
    return held


def does_more_than_read(method: types.FunctionType) -> bool:
    """Whether it does anything but give back public or private attributes of its arguments."""
    # The bytes themselves: dis would make ten thousands of objects, and leave gaps where each fork then writes.
    code = method.__code__
    return not _READS_ONLY.issuperset(code.co_code[::2]) or any(name.startswith("__") for name in code.co_names)
