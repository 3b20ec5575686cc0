"""The systemd units that `whd units` prints: the files beside this module, filled in. Nothing here does I/O but that.

systemd.service(5), systemd.socket(5), sysusers.d(5).
"""

from __future__ import annotations

from importlib import resources

from ...errors import ConfigError

UNIT_NAMES = ("whd.service", "whd.socket", "whd.sysusers")


def hides(path: str) -> str:
    """The directive that hides `path` from the service, systemd.exec(5); "" if it sees it."""
    for directive, folders in (
        ("ProtectHome=yes", ("/home", "/root", "/run/user")),
        ("PrivateTmp=yes", ("/tmp", "/var/tmp")),
    ):
        if path.startswith(tuple(f"{folder}/" for folder in folders)):
            return directive
    return ""


def unit_texts(
    command_path: str,
    *,
    user: str = "whd",
    config_dir: str = "/etc/whd/config",
    flows_dir: str = "/etc/whd/flows",
    listen: str = "127.0.0.1:8080",
    drain_s: float = 30.0,
) -> dict[str, str]:
    """The units, filled in, by file name. `command_path`: the absolute path of `whd`. Raises ConfigError.

    The state is StateDirectory=, /var/lib/whd. `listen`: HOST:PORT or unix:/path. `drain_s`: the option's value;
    systemd waits longer than that.
    """
    for what, path in (("the command", command_path), ("--config", config_dir), ("--flows", flows_dir)):
        if not path.startswith("/") or any(ord(letter) < 32 for letter in path):
            raise ConfigError(f"{what} in a unit needs an absolute path, not {path!r}")
    for what, word in (("the user", user), ("the address", listen)):
        if not word or not word.isprintable() or " " in word or "%" in word:
            raise ConfigError(f"{what} in a unit must be one plain word, not {word!r}")
    values = {
        "{whd}": _quoted(command_path),
        "{user}": user,
        "{config}": _quoted(config_dir),
        "{flows}": _quoted(flows_dir),
        "{listen}": listen.removeprefix("unix:"),
        "{stop_s}": str(round(drain_s) + 15),
    }
    texts = {}
    for name in UNIT_NAMES:
        text = resources.files(__package__).joinpath(name).read_text("utf-8")
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        texts[name] = text
    return texts


def _quoted(text: str) -> str:
    """A word of a command line in a unit: systemd.service(5), COMMAND LINES; systemd.syntax(7), QUOTING."""
    escaped = text.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" '\"\\;") else escaped
