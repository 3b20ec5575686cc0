"""Makes the library's classes as immutable as the builtin ones, so that nothing can leave a trace in them.

A flow's own writes stop at the guard (guards.writable), but library code writes attributes too, to whatever it is given
as `self`: `calendar.Calendar.setfirstweekday(json.JSONEncoder, 1)` would change what all later executions share. So the
zygote sets CPython's Py_TPFLAGS_IMMUTABLETYPE (Include/object.h, since 3.10) on every class that a flow can meet; after
that type.__setattr__ refuses by itself. Python offers no call for it, hence ctypes; the offset of the flags is searched
for rather than assumed, and the effect is tried on a class of our own first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

_IMMUTABLE = 1 << 8
_MAX_OFFSET = 512


def freeze_types(packages: Iterable[str]) -> int:
    """Freezes all loaded classes of these top level packages; answers how many.

    Raises RuntimeError on an interpreter that is laid out differently.
    """
    offset = _flags_offset()
    _set_immutable(_Specimen, offset)
    try:
        _Specimen.attribute = 1  # type: ignore[attr-defined]  # it must fail
    except TypeError:
        pass
    else:
        raise RuntimeError("classes cannot be made immutable in this Python")
    wanted = frozenset(packages)
    kinds = [kind for kind in all_classes() if str(kind.__module__).partition(".")[0] in wanted]
    for kind in kinds:
        _set_immutable(kind, offset)
    return len(kinds)


class _Specimen:
    """Frozen first, to see whether it works."""


def _flags_offset() -> int:
    """The offset of type.__flags__ in a type object: the only one that is right for very different types."""
    samples = (int, dict, BaseException, type, _Specimen)
    size = ctypes.sizeof(ctypes.c_ulong)
    found = [
        offset
        for offset in range(0, _MAX_OFFSET, size)
        if all(_flags_at(kind, offset).value == kind.__flags__ for kind in samples)
    ]
    if len(found) != 1:
        raise RuntimeError("the flags of a class are not where they were expected")
    return found[0]


def _flags_at(kind: type, offset: int) -> ctypes.c_ulong:
    # id() is the object's address in CPython.
    return ctypes.c_ulong.from_address(id(kind) + offset)


def _set_immutable(kind: type, offset: int) -> None:
    flags = _flags_at(kind, offset)
    flags.value |= _IMMUTABLE


def all_classes() -> list[type]:
    """Every class that is loaded, but for object."""
    known: dict[type, None] = {}
    waiting: list[type] = [object]
    while waiting:
        kind: type
        for kind in type.__subclasses__(waiting.pop()):
            if kind not in known:
                known[kind] = None
                waiting.append(kind)
    return list(known)
