"""The way into the kernel: raw system calls through ctypes, errors as OSError.

Only what the standard library has no function for goes through here. Addresses are passed as integers; who passes one
keeps its buffer alive. An unknown machine answers ENOSYS to everything, so that each layer reports its absence.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from .syscalls import NUMBERS

# A 32-bit Python on a 64-bit kernel enters by another ABI, with other numbers.
MACHINE = os.uname().machine if sys.maxsize > 2**32 else "32-bit"
_NUMBERS = NUMBERS.get(MACHINE, {})

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall  # syscall(2)
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 7
_mount = _libc.mount  # mount(2)
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_clearenv = _libc.clearenv  # clearenv(3)


def syscall_number(number: int, *arguments: int) -> int:
    """A system call by number; missing arguments are 0. Raises OSError."""
    padded = arguments + (0,) * (6 - len(arguments))
    result: int = _syscall(number, *padded)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def syscall(name: str, *arguments: int) -> int:
    """A system call by name. Raises OSError, ENOSYS where this machine has no number for it."""
    number = _NUMBERS.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"no system call {name} is known for {MACHINE}")
    return syscall_number(number, *arguments)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2). Raises OSError."""
    return syscall("prctl", option, *arguments)


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    """mount(2). Raises OSError."""
    if _mount(source, target, kind, flags, data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(target))


class Buffer:
    """Memory that a system call reads or writes, with its address; lives as long as this object."""

    __slots__ = ("_memory", "address", "size_bytes")

    def __init__(self, content: bytes) -> None:
        self._memory = ctypes.create_string_buffer(content, len(content))
        self.address = ctypes.addressof(self._memory)
        self.size_bytes = len(content)

    @property
    def content(self) -> bytes:
        """What stands there now."""
        return self._memory.raw


def environment_strings() -> list[tuple[int, bytes]]:
    """Address and text of every `NAME=value` in the C library's environment (environ(7))."""
    pointers = ctypes.POINTER(ctypes.c_void_p).in_dll(_libc, "environ")
    strings = []
    index = 0
    while pointers and (address := pointers[index]):
        strings.append((address, ctypes.string_at(address)))
        index += 1
    return strings


def clear_environment() -> None:
    """clearenv(3): the C library forgets its environment; the memory that held it stays."""
    _clearenv()


def wipe(address: int, size_bytes: int) -> None:
    """Overwrites memory of this process with zeros."""
    ctypes.memset(address, 0, size_bytes)
