"""Layer empty_environment: the zygote holds no variable but the time zone.

Variables often carry secrets (systemd's Environment=, a shell's tokens). The daemon starts the zygote with none; this
layer proves it, and wipes what came all the same.
"""

from __future__ import annotations

import os

from . import kernel
from .wall import Wall

# LC_CTYPE is set by Python itself in a C locale (PEP 538).
KEPT = ("TZ", "LC_CTYPE")


def empty(wall: Wall) -> str:
    """Removes every variable but `KEPT`, from os.environ, from the C library and from the initial stack."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    foreign = [name for name in os.environ if name not in KEPT]
    strings = kernel.environment_strings()
    kernel.clear_environment()
    for address, text in strings:
        kernel.wipe(address, len(text))
    os.environ.clear()
    os.environ.update(kept)
    if foreign:
        # The strings are gone, but Python has copied them while it started, and freed memory keeps its bytes.
        return f"the zygote was started with {len(foreign)} variables; they were wiped, copies may be left in memory"
    return ""
