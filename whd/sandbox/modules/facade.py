"""A facade: a fixed set of names that stands for a module, and never the module itself.

It cannot be changed, copied or made by a flow, and it has no `__name__`: where `from x import y` finds no y, Python
would otherwise look into sys.modules under that name and hand out the real module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Self


class Facade:
    """One importable module as flows see it."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Only `make_facade` makes one."""
        raise TypeError("modules cannot be made by flows")

    def __init_subclass__(cls, **_kwargs: object) -> NoReturn:
        raise TypeError("modules cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("modules cannot be changed by flows")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("modules cannot be changed by flows")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name) from None
        raise AttributeError(
            f"flows have no {name!r} in the module {self._title!r}; it has: {', '.join(public_names(self))}"
        ) from None

    def __repr__(self) -> str:
        return f"<module {self._title!r}>"

    def __copy__(self) -> Facade:
        return self

    def __deepcopy__(self, _memo: object) -> Facade:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("modules cannot be copied")


def make_facade(title: str, names: Mapping[str, Any]) -> Facade:
    """A facade with these names; `title` is what errors call it."""
    facade: Facade = object.__new__(Facade)
    facade.__dict__.update(names)
    facade.__dict__["_title"] = title
    return facade


def public_names(facade: Facade) -> tuple[str, ...]:
    """The names that a flow finds in it."""
    return tuple(sorted(name for name in facade.__dict__ if not name.startswith("_")))


def pick(module: object, names: str) -> dict[str, Any]:
    """The named attributes of a real module, as far as this Python has them."""
    return {name: getattr(module, name) for name in names.split() if hasattr(module, name)}
