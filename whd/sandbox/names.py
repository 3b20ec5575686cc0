"""Which names mean what to the language layer: one place, read by the compiler and by the guards.

Values only. The rule of the fast names: an attribute of that name may be read without a guard on *any* object that a
flow can hold, because no builtin type and no facade gives out anything dangerous under it. Whatever is not known to be
harmless goes through a guard.
"""

from __future__ import annotations

import types

# The __module__ of everything that a flow makes: its functions and classes. No flow can set it (the name starts with
# "_"), so it tells a flow's own classes, which it may change, from shared ones. Compared by identity.
FLOW_MODULE = "<flow>"

# Methods that a class in a flow may define, and call on super() (FLOW_API, The language).
CLASS_METHODS = frozenset(
    {
        "__init__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__contains__", "__len__",
        "__iter__", "__next__", "__getitem__", "__str__", "__repr__", "__enter__", "__exit__", "__post_init__",
    }
)  # fmt: skip

_INTERNAL_TYPES = (
    types.FrameType,
    types.CodeType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)
_INTERNAL_PREFIXES = ("f_", "co_", "tb_", "gi_", "cr_", "ag_")

# BytesIO's window on its bytes: a read-only memoryview keeps its hash while the bytes below it change. So a flow could
# choose what it is equal to, and caches of the library would believe it.
_VIEWS = ("getbuffer",)

# What frames, code, tracebacks, generators and coroutines tell about the interpreter (CVE-2023-37271, and the ag_*
# names that RestrictedPython missed until 8.5): never, on any object, whatever Python adds to the list.
INTERNAL_NAMES = frozenset(
    name for kind in _INTERNAL_TYPES for name in dir(kind) if name.startswith(_INTERNAL_PREFIXES)
) | {"f_generator", "cr_origin", "cr_await", "ag_await", "gi_yieldfrom", "co_code_adaptive", *_VIEWS}

# Harmless on most objects, not on all: the guard looks at what it was read from (guards.read_attribute).
CAREFUL_NAMES = frozenset(
    "format format_map mro obj register clear_cache no_cache from_file evaluate fget fset fdel".split()
)


def is_plain_name(name: str) -> bool:
    """Whether a flow may use the name at all: not private, not internal."""
    return (name[:1] != "_" or name == "_") and name not in INTERNAL_NAMES
