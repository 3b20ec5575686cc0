"""Layer seccomp: the system calls that a worker may make, and what happens on each other one (seccomp(2)).

Three classes. ALLOWED is the least with which Python runs a flow. REFUSED answers EPERM: what honest code tries by
mistake (a late import, an unknown codec, a look at the host), so that it becomes an exception and not a death. All else
ends the process: nothing but an attack gets there.
"""

from __future__ import annotations

import errno
from functools import cache
from struct import pack

from . import bpf, kernel
from .bpf import Check, Rule
from .syscalls import NUMBERS
from .wall import Wall

# linux/audit.h: AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64. Entry by int 0x80 or in AArch32 state shows another one.
AUDIT_ARCHS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# linux/seccomp.h
_SET_MODE_FILTER = 1
KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

_ALL_BITS = (1 << 64) - 1


def _no_bits_but(index: int, bits: int) -> Check:
    return Check(index, _ALL_BITS & ~bits, (0,))


_READ_WRITE = 0x1 | 0x2  # PROT_READ, PROT_WRITE; not PROT_EXEC
# asm-generic/mman-common.h, mman.h: MAP_PRIVATE and MAP_ANONYMOUS, and of all other flags MAP_FIXED and MAP_NORESERVE,
# which the C library's allocator may add. Nothing shared, locked, huge or growing.
_PRIVATE_ANONYMOUS = Check(3, _ALL_BITS & ~(0x10 | 0x4000), (0x02 | 0x20,))
_CLOCKS = _no_bits_but(0, 15)  # linux/time.h; a number past them names another process's CPU clock

ALLOWED: dict[str, tuple[Check, ...]] = {
    # The socket, descriptor 3, and nothing else: no call here makes a descriptor. Of MSG_ flags only those that change
    # waiting and signals: MSG_OOB on a unix socket has let sandboxes be escaped (CVE-2025-38236). No address.
    "read": (),
    "write": (),
    "recvfrom": (_no_bits_but(3, 0x40 | 0x100 | 0x4000),),  # MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL
    "sendto": (_no_bits_but(3, 0x40 | 0x4000), _no_bits_but(4, 0)),
    "close": (),
    # Memory: anonymous, the process's own, never executable. Of the advice only MADV_DONTNEED, with which the C library
    # gives memory back: MADV_MERGEABLE would let the time of a write tell what another process's memory holds.
    "brk": (),
    "mmap": (_no_bits_but(2, _READ_WRITE), _PRIVATE_ANONYMOUS),
    "mprotect": (_no_bits_but(2, _READ_WRITE),),
    "munmap": (),
    "mremap": (_no_bits_but(3, 0x1),),  # MREMAP_MAYMOVE
    "madvise": (Check(2, _ALL_BITS, (4,)),),
    # Locks of the interpreter and the C library: FUTEX_WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, private or not, on either
    # clock; not the priority-inheriting and requeueing ones (CVE-2014-3153).
    "futex": (Check(1, _ALL_BITS & ~0x180, (0, 1, 9, 10)),),
    "sched_yield": (),
    # Time and chance.
    "clock_gettime": (_CLOCKS,),
    "clock_getres": (_CLOCKS,),
    "gettimeofday": (),
    "time": (),
    "getrandom": (),
    "getrusage": (),
    # The process itself. restart_syscall: a wait that SIGSTOP and SIGCONT interrupted (restart_syscall(2)).
    "getpid": (),
    "gettid": (),
    "rt_sigaction": (),
    "rt_sigprocmask": (),
    "rt_sigreturn": (),
    "sigaltstack": (),
    "restart_syscall": (),
    "exit": (),
    "exit_group": (),
}

REFUSED: frozenset[str] = frozenset(
    # Paths: what import, codecs, locale and time zone look-ups do.
    "open openat openat2 creat stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat"
    " getcwd getdents getdents64 statfs fstatfs mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 chdir"
    # Descriptors: what file objects do to theirs.
    " ioctl fcntl lseek pread64 pwrite64 readv writev ftruncate fsync fdatasync dup dup2 dup3"
    # The host and the own identity: what libraries ask to adapt themselves.
    " uname sysinfo getuid geteuid getgid getegid getgroups getresuid getresgid getppid getpgrp getpgid getsid getcpu"
    " sched_getaffinity getrlimit prlimit64 getpriority times membarrier prctl set_robust_list rseq mlock munlock"
    # Waiting: a flow has this.sleep, the worker blocks on its socket.
    " nanosleep clock_nanosleep select pselect6 poll ppoll pause alarm setitimer getitimer".split()
)

# The outer process of pid_one: Python that waits for one child.
WAITING = ALLOWED | {"wait4": ()}

# Stands in for death while the canary tries every call in one process; an errno that no call of ours returns.
CANARY_ERRNO = errno.ENOTRECOVERABLE


def program(machine: str, allowed: dict[str, tuple[Check, ...]], *, last_resort: int = KILL_PROCESS) -> bytes:
    """The filter's instructions for a machine of `NUMBERS`. A name that the machine does not have is skipped."""
    numbers = NUMBERS[machine]
    rules = {numbers[name]: Rule(ERRNO | errno.EPERM) for name in REFUSED if name in numbers}
    for name, checks in allowed.items():
        if name in numbers:
            rules[numbers[name]] = Rule(ALLOW, checks, last_resort)
    return bpf.program(AUDIT_ARCHS[machine], rules, last_resort)


class Filter:
    """A program in memory, laid out for the kernel, so that installing it is one system call."""

    __slots__ = ("_header", "_instructions")

    def __init__(self, code: bytes) -> None:
        self._instructions = kernel.Buffer(code)
        # linux/filter.h, struct sock_fprog: unsigned short len, padding, pointer.
        self._header = kernel.Buffer(pack("@HP", bpf.length(code), self._instructions.address))

    def install(self) -> None:
        """Puts this process, which has one thread, under the filter for ever. Raises OSError."""
        kernel.syscall("seccomp", _SET_MODE_FILTER, 0, self._header.address)


@cache
def _filter(kind: str) -> Filter:
    if kind == "waiting":
        return Filter(program(kernel.MACHINE, WAITING))
    last_resort = ERRNO | CANARY_ERRNO if kind == "canary" else KILL_PROCESS
    return Filter(program(kernel.MACHINE, ALLOWED, last_resort=last_resort))


def prepare(wall: Wall) -> str:
    """Builds the filters in the zygote, so that workers inherit them."""
    if kernel.MACHINE not in NUMBERS:
        return f"there is no table of system calls for {kernel.MACHINE}; x86_64 and aarch64 have one"
    for kind in ("worker", "waiting", "canary"):
        _filter(kind)
    return ""


def install(wall: Wall) -> str:
    """The worker's filter. Needs no_new_privs. Raises OSError."""
    return _install("canary" if wall.is_canary else "worker")


def install_waiting(wall: Wall) -> str:
    """The filter of the process that waits for the zygote. Raises OSError."""
    return _install("waiting")


def _install(kind: str) -> str:
    if kernel.MACHINE not in NUMBERS:
        return f"there is no table of system calls for {kernel.MACHINE}"
    try:
        _filter(kind).install()
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            return "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)"
        raise
    return ""
