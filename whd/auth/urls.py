"""One reading of a URL: what is decided upon is, byte for byte, what is sent.

A URL is written as people write it, and sent as browsers send it: a space within path or query is %20, other characters
that a URL cannot hold are percent-encoded UTF-8, a host's are IDNA. Whatever two programs might read differently is
refused, not guessed: user information, backslashes, control characters, spaces before the URL or in its host, IPv4
addresses in other spellings than 127.0.0.1, zones, dot segments behind an encoding. The grammar is RFC 3986's.
Nothing here does I/O, and no error repeats a query or user information.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARACTERS = 8192
MAX_HOST_CHARACTERS = 253  # RFC 1035, 2.3.4, less the root's two octets

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# inet_aton(3) takes 0x7f.1, 017700000001, 127.1: whatever ends in a number is an address to someone.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_SAFE = "!$%&'()*+,/:;=@"
_QUERY_SAFE = _PATH_SAFE + "?[]"
# IDNA 2003, which the standard library knows, reads these four otherwise than IDNA 2008: another owner's domain.
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
_MAX_DECODINGS = 4


class BadUrl(ValueError):
    """A text that is no http(s) URL, or one that could be read in two ways; the text says why."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in its normal form, all ASCII. `host`: lower case, an IPv6 address without brackets.

    `path` starts with `/`; dot segments and empty segments are gone, and only what must be is percent-encoded, in
    upper case. `query` is "" for none. The fragment, which is never sent, is dropped.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str
    is_address: bool


def parse_url(text: str) -> Url:
    """Reads a URL. Raises BadUrl."""
    scheme, host, port, path, query = split_url(text)
    name, is_address = read_host(host)
    return Url(scheme, name, port, normal_path(path), _escaped(query, _QUERY_SAFE), is_address)


def split_url(text: str) -> tuple[str, str, int, str, str]:
    """Scheme, host as written, port, path as written, query as written. Raises BadUrl."""
    if len(text) > MAX_URL_CHARACTERS:
        raise BadUrl(f"the URL is longer than {MAX_URL_CHARACTERS} characters")
    if found := _FORBIDDEN.search(text):
        character = found.group()
        what = "a backslash" if character == "\\" else "a control character"
        raise BadUrl(f"the URL holds {what}, which must be written as %{ord(character):02X}")
    if text.startswith(" "):
        raise BadUrl("the URL begins with a space: leave it out")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise BadUrl("this is not a URL: it must begin with https:// or http:// and a host")
    scheme = parts[1].lower()
    if scheme not in DEFAULT_PORTS:
        raise BadUrl(f"the URL's scheme must be https or http, not {scheme[:20]}")
    if " " in parts[2]:
        raise BadUrl("the URL's host holds a space: a path begins with a /")
    if "@" in parts[2]:
        raise BadUrl("the URL holds user information (before an @), which is refused: send it in a header")
    host_and_port = _HOST_AND_PORT.fullmatch(parts[2])
    if host_and_port is None:
        raise BadUrl("the URL's host cannot be read: an IPv6 address stands in brackets, and a port after one colon")
    return scheme, host_and_port[1], _read_port(host_and_port[2], scheme), parts[3], parts[4] or ""


def _read_port(text: str | None, scheme: str) -> int:
    if text is None:
        return DEFAULT_PORTS[scheme]
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 0 < int(text) < 65_536:
        raise BadUrl("the URL's port must be a number from 1 to 65535")
    return int(text)


def read_host(text: str) -> tuple[str, bool]:
    """A host in its normal form, and whether it is an address. Raises BadUrl."""
    if not text:
        raise BadUrl("the URL has no host")
    if text.startswith("["):
        return _read_ipv6(text[1:-1]), True
    labels = ascii_host(text).split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(".".join(labels)), True
    for label in labels:
        check_label(label)
    return ".".join(labels), False


def ascii_host(text: str) -> str:
    """A host's name in lower case and ASCII (RFC 3490). Raises BadUrl."""
    if len(text) > MAX_HOST_CHARACTERS:
        raise BadUrl(f"the URL's host is longer than {MAX_HOST_CHARACTERS} characters")
    if text.isascii():
        return text.lower()
    # U+1E9E is folded to the first of the four.
    if _DEVIATIONS & set(text.lower()) or "\u1e9e" in text:
        raise BadUrl("the URL's host holds a letter that IDNA's two versions read differently: write it as xn--...")
    try:
        name = text.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise BadUrl(f"the URL's host is not a name that IDNA knows: {error.__cause__ or error}") from None
    if len(name) > MAX_HOST_CHARACTERS:
        raise BadUrl(f"the URL's host is longer than {MAX_HOST_CHARACTERS} characters")
    return name


def check_label(label: str) -> None:
    """One part of a name between dots. Raises BadUrl."""
    if not label:
        raise BadUrl("the URL's host has an empty part, or ends with a dot")
    if not _LABEL.fullmatch(label):
        raise BadUrl("a part of the URL's host has other characters than letters, digits, - and _, or more than 63")


def _read_ipv4(text: str) -> str:
    try:
        # Strict: four decimal numbers without leading zeros (3.9.5 and later).
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise BadUrl(f"the host {text} is a number but no address: IPv4 is written like 192.0.2.1") from None


def _read_ipv6(text: str) -> str:
    if "%" in text:
        raise BadUrl("the host is an IPv6 address with a zone, which is refused")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise BadUrl("the host in brackets is not an IPv6 address") from None


def normal_path(path: str) -> str:
    """A path in its normal form (RFC 3986, 6.2.2), and `//` as `/`. Raises BadUrl."""
    segments: list[str] = []
    last = ""
    for last in _escaped(path, _PATH_SAFE).split("/"):
        if last == "..":
            del segments[-1:]
        elif last not in ("", "."):
            _refuse_hidden_dots(last)
            segments.append(last)
    ends_open = bool(segments) and last in ("", ".", "..")
    return "/" + "/".join(segments) + ("/" if ends_open else "")


def _escaped(text: str, safe: str) -> str:
    """Percent-encoding as RFC 3986, 6.2.2 has it: none that is not needed, what is needed in upper case."""
    if _STRAY_PERCENT.search(text):
        raise BadUrl("the URL has a % without two hexadecimal digits after it: a % itself is written as %25")
    try:
        quoted = quote(text, safe=safe)
    except UnicodeEncodeError:
        raise BadUrl("the URL holds half a surrogate pair, which is no character") from None
    return _ESCAPE.sub(_unescape_unreserved, quoted)


def _unescape_unreserved(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _refuse_hidden_dots(segment: str) -> None:
    """Refuses a segment in which a server that decodes once more, or differently, would find `..` (or `.`).

    Servers that take %2F or %5C for a slash, decode twice, cut at `;` or NUL, trim spaces or take overlong UTF-8
    leave the folder that the rule names (CWE-22, CWE-174). Raises BadUrl.
    """
    if "." not in segment and "%" not in segment:
        return
    reading = segment.encode("ascii")
    for _ in range(_MAX_DECODINGS):
        for part in re.split(rb"[/\\]", reading):
            if re.split(rb"[;\0]", part, maxsplit=1)[0].strip() in (b".", b".."):
                raise BadUrl("the URL's path hides a . or .. behind an encoding")
        before, reading = reading, unquote_to_bytes(reading).replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/")
        if reading == before:
            return
    raise BadUrl(f"the URL's path is percent-encoded more than {_MAX_DECODINGS - 1} times over")
