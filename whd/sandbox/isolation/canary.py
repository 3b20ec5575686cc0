"""The canary: at every start, workers that try what no worker may do.

The first sits behind the whole wall, except that its filter answers an errno where it would kill: so one process can
try every system call there is, and the real attempts that other layers refuse. The others have the real filter, make
one call of the deadly class each and have to die of it. Together they cost three forks, some 6 ms.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import kernel, seccomp
from .environment import KEPT
from .layers import REQUIRABLE
from .probe import run_in_worker
from .report import LayerReport, summary
from .syscalls import NUMBERS

# Bit 30 marks a call of x86-64's x32 ABI (arch/x86/include/asm/unistd.h).
_X32 = 0x40000000
_PR_GET_NO_NEW_PRIVS = 39  # linux/prctl.h
_PROT_READ_EXEC, _MAP_PRIVATE_ANONYMOUS = 0x1 | 0x4, 0x02 | 0x20  # asm-generic/mman-common.h
_AF_INET, _AF_UNIX, _SOCK_STREAM = 2, 1, 1  # linux/socket.h
_CLONE_NEWUSER = 0x10000000  # linux/sched.h


def canary(config: Mapping[str, Any], zygote_reports: Iterable[LayerReport]) -> list[str]:
    """In a walled zygote: what workers succeeded in although a layer that engaged should have refused it.

    `zygote_reports`: what `wall_zygote` answered. Empty when the wall holds. A layer that reported itself missing is
    not held against the wall here: that is what `layers.missing` is for. Raises OSError if a worker cannot be forked.
    """
    before = list(zygote_reports)
    outcome = run_in_worker(config, lambda reports: _attempts([*before, *reports]), is_canary=True)
    if outcome.answer is None:
        return [f"the canary ended with {outcome.exit_code} and without an answer"]
    found, has_filter = outcome.answer
    for name, attempt in DEADLY if has_filter else ():
        death = run_in_worker(config, _only(attempt))
        if death.exit_code != -signal.SIGSYS:
            found.append(f"{name} ended a worker with {death.exit_code} instead of SIGSYS")
    return list(found)


def _only(attempt: Callable[[], object]) -> Callable[[list[LayerReport]], object]:
    return lambda reports: attempt()


def _attempts(reports: list[LayerReport]) -> tuple[list[str], bool]:
    engaged = {report.name for report in summary(reports, REQUIRABLE) if report.engaged}
    has_filter = "seccomp" in engaged
    found = [name for name, layers, attempt in ATTEMPTS if engaged & layers and _succeeds(attempt)]
    if has_filter and (not_filtered := _filter_missing()):
        # No sweep over calls that might then be carried out.
        return [*found, not_filtered], True
    return found + (_sweep() if has_filter else []), has_filter


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        return bool(attempt())
    except OSError:
        return False


def _filter_missing() -> str:
    try:
        kernel.prctl(_PR_GET_NO_NEW_PRIVS)
    except OSError as error:
        return "" if error.errno == errno.EPERM else f"the filter answers {error} to prctl"
    return "the filter lets prctl pass"


def _sweep() -> list[str]:
    """Every system call by number, arguments 0: names of those that the filter lets pass or puts in a wrong class."""
    found = []
    for name, number in NUMBERS[kernel.MACHINE].items():
        if name in seccomp.ALLOWED:
            continue
        expected = errno.EPERM if name in seccomp.REFUSED else seccomp.CANARY_ERRNO
        if _errno_of(number) != expected:
            found.append(f"system call {name}")
    return found


def _errno_of(number: int) -> int:
    try:
        kernel.syscall_number(number)
    except OSError as error:
        return error.errno or 0
    return 0


def _open_file() -> object:
    os.close(os.open("/etc/passwd", os.O_RDONLY))
    return True


def _list_root() -> object:
    return os.listdir("/")


def _read_environment() -> object:
    names = [os.fsdecode(text).partition("=")[0] for _, text in kernel.environment_strings()]
    return [name for name in (*names, *os.environ) if name not in KEPT]


def _call_socket() -> object:
    return kernel.syscall("socket", _AF_UNIX, _SOCK_STREAM, 0) >= 0


def _map_executable() -> object:
    return kernel.syscall("mmap", 0, 4096, _PROT_READ_EXEC | 0x2, _MAP_PRIVATE_ANONYMOUS, -1, 0) > 0


def _use_other_descriptors() -> object:
    for fd in (0, 1, 2, *range(4, 64)):
        try:
            os.write(fd, b"")
        except OSError as error:
            if error.errno != errno.EBADF:
                return True
        else:
            return True
    return False


def _become_root() -> object:
    return kernel.syscall("setuid", 0) == 0


def _nest_user_namespace() -> object:
    return kernel.syscall("unshare", _CLONE_NEWUSER) == 0


def _call_x32() -> object:
    return kernel.syscall_number(_X32 | NUMBERS["x86_64"]["getpid"])


_FILES = frozenset({"seccomp", "landlock", "empty_root", "rlimits"})
ATTEMPTS: tuple[tuple[str, frozenset[str], Callable[[], object]], ...] = (
    ("opened a file", _FILES, _open_file),
    ("listed the root directory", _FILES, _list_root),
    ("read the environment", frozenset({"empty_environment"}), _read_environment),
    ("used a descriptor that is not its socket", frozenset({"closed_fds"}), _use_other_descriptors),
    ("made a socket", frozenset({"seccomp", "rlimits"}), _call_socket),
    ("mapped executable memory", frozenset({"seccomp", "mdwe"}), _map_executable),
    ("became root", frozenset({"seccomp", "capabilities"}), _become_root),
    ("made a user namespace", frozenset({"seccomp"}), _nest_user_namespace),
)
"""What is really tried: name, the layers any one of which has to refuse it, the attempt; true if it succeeded."""

DEADLY: tuple[tuple[str, Callable[[], object]], ...] = (
    ("a forbidden system call", _call_socket),
    # Not in the canary: systemd's SystemCallArchitectures=native kills it there, whatever our own filter answers.
    *((("a system call of the x32 ABI", _call_x32),) if kernel.MACHINE == "x86_64" else ()),
)
"""What is tried behind the real filter, each in a worker of its own, which has to die of it."""
