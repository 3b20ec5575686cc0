"""The command `whd`: what it understands. What each command does is in commands/.

Exit status: 0 fine, 1 found faults, the flow failed or no daemon answers, 2 usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__, commands
from .admin.client import MAX_LIST
from .commands import printing
from .engine.state import Paths
from .errors import MORE_PROCESSES, UsageError, WhdError
from .log import CommandFormatter
from .model.execution import Status
from .terminal import escape_lines

FAULT, USAGE = 1, 2

# The command that is a daemon.
SERVE = "serve.serve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status. No traceback reaches a user.

    `arguments`: None for those of this process.
    """
    _open_standard_streams()
    if arguments is None and sys.getfilesystemencoding() != "utf-8":
        _start_again_in_utf8()
    printing.use_utf8()
    parser = build_parser()
    given = parser.parse_args(arguments)
    paths = Paths(given.config, given.flows, given.state)
    if given.run == SERVE:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            # Until it listens to them (daemon/daemon.py): what asks it to reload must not end one that only starts.
            signal.signal(number, _ignore)
    else:
        # A daemon logs; a command says what concerns its caller, and what is worse than that.
        handler = logging.StreamHandler()
        handler.setFormatter(CommandFormatter())
        logging.basicConfig(level=logging.ERROR, handlers=[handler])
    try:
        return commands.load(given.run)(paths, given)
    except UsageError as error:
        return _failed(error.log_detail, paths, USAGE)
    except WhdError as error:
        return _failed(error.log_detail, paths, FAULT)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    except OSError as error:
        # A path may be bytes or a number; what asks for the working folder names none.
        name = error.filename if isinstance(error.filename, str) else "the working folder" if _is_folder_gone() else ""
        return _failed(f"{name}: {error.strerror}" if name else str(error), paths, FAULT)
    except RuntimeError as error:
        # Thread.start has no error of its own for the limit of processes.
        if "start new thread" not in str(error):
            raise
        return _failed(f"no thread can be started; {MORE_PROCESSES}", paths, FAULT)


def _open_standard_streams() -> None:
    """Where the caller closed one of the first three descriptors (`whd serve 2>&-`): leads it to /dev/null.

    Else the next socket or database would get its number, and what is written there by habit would go into that.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, open(2); for what is started too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def _failed(text: str, paths: Paths, status: int) -> int:
    """Says why a command failed, a line for each thing that is wrong."""
    printing.warn_lines(f"whd: {text}")
    relative = [f"--{name}" for name in ("config", "flows", "state") if not getattr(paths, name).is_absolute()]
    if relative and _is_folder_gone():
        taken = ", ".join(relative)
        printing.warn(
            "whd: the folder that this was started in has been deleted, so nothing is found below it; "
            f"go to another one (cd), or give {taken} as absolute paths"
        )
    return status


def _is_folder_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _start_again_in_utf8() -> None:
    """Becomes the same command with Python's UTF-8 mode, which PYTHONUTF8=0 or a locale of another charset kept off.

    The names of flows and settings are those of their files, so bytes of names must not mean what the locale says. The
    mode can only be chosen at the start (PEP 540); for processes that are started from here the environment has it.
    """
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _ignore(_number: int, _frame: object) -> None:
    """Not SIG_IGN, which what is started would inherit."""


class _Parser(argparse.ArgumentParser):
    """A parser whose epilog is made only when help is wanted, and that prints as commands do."""

    make_epilog: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.make_epilog is not None:
            self.epilog = self.make_epilog()
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        # What was typed stands in some messages.
        if message:
            printing.write(sys.stderr if file is None else file, escape_lines(message))


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(prog="whd", description="A self-hosted webhook daemon that runs sandboxed Python flows.")
    parser.add_argument("--version", action="version", version=f"whd {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(subparsers)
    _add_run(subparsers)
    _add_executions(subparsers)
    _add_settings(subparsers)
    checking = _add(subparsers, "check", "config.check", "validate everything; a line per fault")
    help_text = "also print, for each webhook, what its user may do (with --json: an object of faults and webhooks)"
    checking.add_argument("-v", "--verbose", action="store_true", help=help_text)
    _add(subparsers, "webhooks", "config.webhooks", "the endpoints: URL, flow, user, whether a key is needed")
    _add_send(subparsers)
    _add(subparsers, "status", "status.status", "what the running daemon does, and what is wrong")
    _add(subparsers, "doctor", "host.doctor", "which isolation layers work on this host, and why not")
    _add(subparsers, "units", "host.units", "print the systemd units, which take /etc/whd and /var/lib/whd")
    return parser


def _add(subparsers: argparse._SubParsersAction[_Parser], name: str, run: str, text: str) -> _Parser:
    parser = subparsers.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config"), metavar="DIR", help="default: ./config")
    parser.add_argument("--flows", type=Path, default=Path("flows"), metavar="DIR", help="default: ./flows")
    parser.add_argument("--state", type=Path, default=Path("state"), metavar="DIR", help="default: ./state")
    if run != SERVE:
        parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)
    return parser


def _add_serve(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add(subparsers, "serve", SERVE, "serve the webhooks")
    parser.add_argument(
        "--listen",
        action="append",
        type=_address,
        metavar="HOST:PORT|unix:PATH",
        help="instead of the option `listen`; may be given more than once; port 0 takes a free one",
    )
    parser.make_epilog = options_help


def _address(text: str) -> str:
    from .settings.parse import listen_fault, meant_address  # take a while to load, and only a daemon needs them

    if fault := listen_fault(text):
        meant = meant_address(text)
        way_out = f" - did you mean {meant}?" if meant else ""
        raise argparse.ArgumentTypeError(f"{text!r} {fault}; it takes HOST:PORT, [IPV6]:PORT or unix:/path{way_out}")
    return text


def options_help() -> str:
    """Every option of whd.yaml with its default and meaning, one a line."""
    from .model.options import LIMIT_NAMES, Options, option_fields  # needed for the help alone

    lines = ["options of config/whd.yaml, with their defaults (* a webhook may tighten it for itself):", ""]
    for option in option_fields():
        default = getattr(Options(), option.name)
        shown = str(list(default)).replace("'", "") if isinstance(default, tuple) else str(default).removesuffix(".0")
        mark = "*" if option.name in LIMIT_NAMES else " "
        live = "" if option.metadata["live"] else " (a change needs a restart)"
        lines.append(f" {mark} {option.name}: {shown.lower() if isinstance(default, bool) else shown}")
        lines.append(f"       {option.metadata['text']}{live}")
    return "\n".join(lines)


def _add_run(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add(subparsers, "run", "executions.run", "run one flow through the sandbox, recorded")
    parser.add_argument("client", metavar="CLIENT")
    parser.add_argument("flow", metavar="FLOW")
    parser.add_argument("--user", required=True, metavar="NAME", help="whose permissions it has")
    parser.add_argument(
        "--input",
        metavar="JSON|@FILE|-",
        help="its input_value: JSON, @ and a file, or - for stdin; a webhook's flow\n"
        """looks for what was sent in `json`: --input '{"json": {"name": "Ada"}}'\n"""
        "default: what a POST without a body gives it",
    )


def _add_send(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add(subparsers, "send", "send.send", "send a delivery as its sender would, signed, to the running daemon")
    parser.add_argument("client", metavar="CLIENT")
    parser.add_argument("webhook", metavar="WEBHOOK")
    parser.add_argument("--as", dest="sender", type=_sender, metavar="NAME", help="who sends; default: as verify says")
    parser.add_argument("--event", metavar="NAME", help="one of that sender's; default: the most common")
    parser.add_argument("--body", metavar="TEXT|@FILE|@-", help="instead of the sample's: text, @ and a file, or stdin")
    parser.add_argument("--url", metavar="URL", help="instead of the running daemon's")
    secret = "a file with the secret, - for stdin; default: that of the webhook's setting"
    parser.add_argument("--secret-file", metavar="FILE|-", help=secret)
    parser.add_argument("--print", choices=["curl"], help="print a line for a shell instead of sending")
    parser.add_argument("--yes", action="store_true", help="send without a question; it runs the real flow")


def _sender(name: str) -> str:
    from .senders.presets import PRESETS  # needed for this command alone
    from .wire.suggest import closest

    if name not in PRESETS:
        meant = closest(name, PRESETS)
        hint = f" - did you mean {meant}?" if meant else ""
        raise argparse.ArgumentTypeError(f"there is no sender {name!r}; there are {', '.join(sorted(PRESETS))}{hint}")
    return name


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_LIST:
        raise argparse.ArgumentTypeError(f"takes 1 to {MAX_LIST}")
    return number


def _add_executions(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    text = "what ran and what runs"
    parser = subparsers.add_parser("executions", help=text, description=text[0].upper() + text[1:] + ".")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = _add(inner, "list", "executions.executions_list", "the newest first")
    listing.add_argument("--client", metavar="NAME")
    listing.add_argument("--status", choices=[status.value for status in Status], metavar="STATUS")
    listing.add_argument("--webhook", metavar="[CLIENT/]NAME", help="those that came through it")
    listing.add_argument("--limit", type=_limit, default=50, metavar="N", help=f"1 to {MAX_LIST}; default: 50")
    for name, run, help_text in (
        ("show", "executions.executions_show", "one record"),
        ("logs", "executions.executions_logs", "what its flow logged"),
        ("replay", "executions.executions_replay", "run its input again with the present flow"),
        ("cancel", "executions.executions_cancel", "end it"),
    ):
        _add(inner, name, run, help_text).add_argument("id", metavar="ID")


def _add_settings(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    text = "every setting, and where its value comes from; keys are masked"
    parser = subparsers.add_parser("settings", help=text, description=text[0].upper() + text[1:] + ".")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, run, help_text in (
        ("list", "settings.settings_list", "all of them"),
        ("show", "settings.settings_show", "one of them"),
        ("set", "settings.settings_set", "save a value, which stands before the file of that name"),
        ("unset", "settings.settings_unset", "delete a saved value, so that the file stands again"),
    ):
        command = _add(inner, name, run, help_text)
        optional = "" if name == "list" else "; may be left out where there is only one"
        command.add_argument("--client", metavar="CLIENT", help=f"whose{optional}")
        if name != "list":
            command.add_argument("name", metavar="NAME")
        if name == "set":
            command.add_argument("value", metavar="YAML|@FILE|-", help="YAML or JSON, @ and a file, or - for stdin")
