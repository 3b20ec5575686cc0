"""Where a user may connect to: the one decision about outgoing calls (CONTRACT 1, connections).

A rule is a URL: scheme and port are exact (a left-out port is the scheme's own), `*` in the host stands for one whole
label of a name and never for a part of an address, `*` in the path for any characters, `/` included. A rule without a
path is the path `/`, and one without `*` is that path alone. Paths are compared in their normal form, with case; the
query is not looked at, so a rule must not have one. A rule that cannot be read allows nothing.

The decision has two halves: `check_url` before the host is looked up, `is_address_allowed` for each address found.
Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..model.snapshot import User
from .addresses import kind_of
from .permissions import Action, PermissionDenied, matches
from .urls import DEFAULT_PORTS, BadUrl, Url, ascii_host, check_label, normal_path, parse_url, read_host, split_url

__all__ = ["BadUrl", "Target", "check_url", "is_address_allowed", "rule_fault"]

_LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and what to ask for; all ASCII, the host in lower case, an IPv6 address without brackets.

    `path_and_query` is sent as it is. `literal_host`: the host stands in a rule of the user, without `*`, so that its
    addresses need not be public. `is_address`: the host is an address and needs no look-up.
    """

    scheme: str
    host: str
    port: int
    path_and_query: str
    literal_host: bool
    is_address: bool = False

    @property
    def authority(self) -> str:
        """Host and port as the Host field and a URL have them (RFC 9110, 7.2): a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what credentials belong to (RFC 6454, 4)."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The whole URL; its query may hold secrets."""
        return f"{self.scheme}://{self.authority}{self.path_and_query}"

    @property
    def path(self) -> str:
        """The path alone."""
        return self.path_and_query.partition("?")[0]

    @property
    def shown(self) -> str:
        """The URL for messages and logs: without its query."""
        return _shortened(self.url.partition("?")[0])


@dataclass(frozen=True, slots=True)
class _Rule:
    scheme: str
    labels: tuple[str, ...]
    host: str
    port: int
    path: str
    is_literal: bool

    def allows(self, url: Url) -> bool:
        return (
            self.scheme == url.scheme
            and self.port == url.port
            and (self.host == url.host if self.is_literal else self._fits(url))
            and matches(self.path, url.path)
        )

    def _fits(self, url: Url) -> bool:
        labels = url.host.split(".")
        return (
            not url.is_address
            and len(labels) == len(self.labels)
            and all(own in ("*", label) for own, label in zip(self.labels, labels, strict=True))
        )


def check_url(user: User, connector_type: str, url: str) -> Target:
    """Where a call of `user` to `url` may go, if one of its rules for that connector allows it.

    Raises BadUrl for a text that is no URL, PermissionDenied (action `connect`; the record is the URL in its normal
    form, without its query) if no rule allows it.
    """
    parsed = parse_url(url)
    rules = (user.connections or {}).get(connector_type, ())
    allowing = [rule for text in rules if (rule := _rule(text)) is not None and rule.allows(parsed)]
    target = Target(
        parsed.scheme,
        parsed.host,
        parsed.port,
        f"{parsed.path}?{parsed.query}" if parsed.query else parsed.path,
        any(rule.is_literal for rule in allowing),
        parsed.is_address,
    )
    if not allowing:
        raise PermissionDenied(user.name, Action.CONNECT, target.shown)
    return target


def is_address_allowed(address: str, literal_host: bool) -> bool:
    """Whether a connection may be made to an address that was found for a host.

    One that is not public, or an IPv6 address that carries such an IPv4 one, only if the host stands literally in a
    rule (`Target.literal_host`); `addresses.kind_of` tells what it is.
    """
    kind = kind_of(address)
    return not kind or (literal_host and kind != "unreadable")


def rule_fault(text: str) -> str:
    """Why a rule allows nothing, for `whd check`; "" for a good one."""
    try:
        _read_rule(text)
    except BadUrl as error:
        return str(error)
    return ""


@lru_cache(maxsize=4096)
def _rule(text: str) -> _Rule | None:
    try:
        return _read_rule(text)
    except BadUrl:
        return None


def _read_rule(text: str) -> _Rule:
    if "?" in text or "#" in text:
        raise BadUrl("a rule has no query and no fragment: the path alone is compared")
    if " " in text:
        raise BadUrl("a rule holds a space, which must be written as %20; each rule is an item of its own")
    scheme, host, port, path, _ = split_url(text)
    labels = _read_host_pattern(host)
    normal = normal_path(path)
    if any(segment in (".", "..") for segment in path.split("/")):
        raise BadUrl("a rule's path has no . and .. segments")
    return _Rule(scheme, labels, ".".join(labels), port, normal, "*" not in labels)


def _read_host_pattern(host: str) -> tuple[str, ...]:
    if "*" not in host:
        return (read_host(host)[0],)
    # Label by label: with a `*` the whole is no name that IDNA could read.
    labels = tuple(label if label == "*" else ascii_host(label) for label in host.split("."))
    for label in labels:
        if label != "*":
            if "*" in label:
                raise BadUrl("a * in a rule's host stands for one whole part between dots, as in *.example.com")
            check_label(label)
    return labels


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
