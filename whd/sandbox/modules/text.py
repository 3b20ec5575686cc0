"""Text, bytes and their encodings: modules of plain functions, each as the list of its harmless names."""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import difflib
import fnmatch
import hashlib
import hmac
import html
import importlib
import io
import ipaddress
import json
import os.path
import re
import string
import struct
import sys
import textwrap
import unicodedata
import urllib.parse
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import yaml

from .facade import Facade, make_facade, pick


def _load_saxutils() -> ModuleType:
    """Loads xml.sax.saxutils without urllib.request, which only what flows do not get needs: with ssl, http.client and
    email that is 3 MiB, which each fork would have to map.
    """
    is_loaded = "urllib.request" in sys.modules
    if not is_loaded:
        sys.modules["urllib.request"] = ModuleType("urllib.request")
    try:
        return importlib.import_module("xml.sax.saxutils")
    finally:
        if not is_loaded:
            del sys.modules["urllib.request"]


_saxutils = _load_saxutils()

MAX_UNPACKED_BYTES = 134_217_728

_NAMES: dict[str, tuple[Any, str]] = {
    "base64": (
        base64,
        "b64encode b64decode standard_b64encode standard_b64decode urlsafe_b64encode urlsafe_b64decode b32encode "
        "b32decode b32hexencode b32hexdecode b16encode b16decode a85encode a85decode b85encode b85decode "
        "encodebytes decodebytes",
    ),
    "binascii": (
        binascii,
        "a2b_base64 a2b_hex a2b_qp a2b_uu b2a_base64 b2a_hex b2a_qp b2a_uu crc32 crc_hqx hexlify unhexlify Error "
        "Incomplete",
    ),
    "csv": (
        csv,
        "reader writer DictReader DictWriter Dialect Sniffer Error excel excel_tab unix_dialect QUOTE_ALL "
        "QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC",
    ),
    # Without HtmlDiff, which counts its instances in the class.
    "difflib": (
        difflib,
        "SequenceMatcher Differ context_diff diff_bytes get_close_matches ndiff restore unified_diff",
    ),
    "fnmatch": (fnmatch, "filter fnmatch fnmatchcase translate"),
    "hmac": (hmac, "new digest compare_digest"),
    "html": (html, "escape unescape"),
    "io": (io, "StringIO BytesIO"),
    "ipaddress": (
        ipaddress,
        "ip_address ip_network ip_interface IPv4Address IPv4Network IPv4Interface IPv6Address IPv6Network "
        "IPv6Interface AddressValueError NetmaskValueError collapse_addresses summarize_address_range "
        "get_mixed_type_key v4_int_to_packed v6_int_to_packed",
    ),
    "json": (json, "dump dumps load loads JSONDecodeError JSONDecoder JSONEncoder"),
    "re": (
        re,
        "compile escape findall finditer fullmatch match search split sub subn error Pattern Match "
        "RegexFlag A ASCII DOTALL I IGNORECASE L LOCALE M MULTILINE NOFLAG S U UNICODE VERBOSE X",
    ),
    "string": (
        string,
        "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation whitespace "
        "capwords Template",
    ),
    "struct": (struct, "calcsize error iter_unpack pack pack_into unpack unpack_from Struct"),
    "textwrap": (textwrap, "dedent fill indent shorten wrap TextWrapper"),
    "unicodedata": (
        unicodedata,
        "bidirectional category combining decimal decomposition digit east_asian_width is_normalized lookup mirrored "
        "name normalize numeric unidata_version",
    ),
    "urllib.parse": (
        urllib.parse,
        "ParseResult ParseResultBytes SplitResult SplitResultBytes parse_qs parse_qsl quote quote_from_bytes "
        "quote_plus unquote unquote_plus unquote_to_bytes urldefrag urlencode urljoin urlparse urlsplit urlunparse "
        "urlunsplit",
    ),
    "xml.sax.saxutils": (_saxutils, "escape quoteattr unescape"),
    "yaml": (yaml, "safe_load safe_load_all safe_dump YAMLError"),
    # Only what works on texts alone: the rest would ask the file system.
    "os.path": (
        os.path,
        "altsep basename commonpath commonprefix curdir dirname extsep isabs join normcase normpath pardir pathsep sep "
        "split splitdrive splitext",
    ),
}


def _zlib() -> Facade:
    names = pick(
        zlib,
        "adler32 compress compressobj crc32 error DEFLATED DEF_BUF_SIZE DEF_MEM_LEVEL MAX_WBITS Z_BEST_COMPRESSION "
        "Z_BEST_SPEED Z_DEFAULT_COMPRESSION Z_DEFAULT_STRATEGY Z_FILTERED Z_FINISH Z_FIXED Z_FULL_FLUSH "
        "Z_HUFFMAN_ONLY Z_NO_COMPRESSION Z_NO_FLUSH Z_PARTIAL_FLUSH Z_RLE Z_SYNC_FLUSH ZLIB_VERSION",
    )
    names["decompress"] = decompress
    return make_facade("zlib", names)


def decompress(data: bytes, /, wbits: int = zlib.MAX_WBITS, bufsize: int = zlib.DEF_BUF_SIZE) -> bytes:
    """zlib.decompress, bounded: a few bytes can unpack to gigabytes."""
    unpacker = zlib.decompressobj(wbits)
    unpacked = unpacker.decompress(data, MAX_UNPACKED_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"zlib.decompress: the data unpacks to more than {MAX_UNPACKED_BYTES} bytes") from None
    unpacked += unpacker.flush()
    if not unpacker.eof:
        raise zlib.error("Error -5 while decompressing data: incomplete or truncated stream")
    return unpacked


def _hashlib() -> Facade:
    names = pick(
        hashlib,
        "new md5 sha1 sha224 sha256 sha384 sha512 sha3_224 sha3_256 sha3_384 sha3_512 shake_128 shake_256 blake2b "
        "blake2s pbkdf2_hmac scrypt",
    )
    names["algorithms_available"] = frozenset(hashlib.algorithms_available)
    names["algorithms_guaranteed"] = frozenset(hashlib.algorithms_guaranteed)
    return make_facade("hashlib", names)


def _freeze_shared() -> None:
    """Replaces mutable class attributes, which executions would share, by immutable ones."""
    wrapper: Any = textwrap.TextWrapper
    table: dict[int, int] = wrapper.unicode_whitespace_trans
    # str.translate takes a text as well, and a text gives an object of the flow's no way to a shared dict.
    wrapper.unicode_whitespace_trans = "".join(chr(table.get(code, code)) for code in range(max(table) + 1))


_freeze_shared()


def text_facades() -> dict[str, Facade]:
    """The facades of this module, by the name that a flow imports."""
    facades = {name: make_facade(name, pick(module, names)) for name, (module, names) in _NAMES.items()}
    facades["re"] = make_facade("re", {**pick(re, _NAMES["re"][1]), "PatternError": re.error})  # its name since 3.13
    facades["hashlib"] = _hashlib()
    facades["zlib"] = _zlib()
    path = facades["os.path"]
    facades["os"] = make_facade("os", {"path": path, **pick(os, "altsep curdir extsep linesep pardir pathsep sep")})
    facades["urllib"] = make_facade("urllib", {"parse": facades["urllib.parse"]})
    facades["xml.sax"] = make_facade("xml.sax", {"saxutils": facades["xml.sax.saxutils"]})
    facades["xml"] = make_facade("xml", {"sax": facades["xml.sax"]})
    return facades


# What files and senders in the wild are encoded in; Python loads each from a file at its first use.
_CODECS = (
    "ascii latin-1 utf-7 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be cp437 cp850 cp852 "
    "cp858 cp866 cp874 cp932 cp949 cp950 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-13 "
    "iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman shift_jis euc_jp iso2022_jp gb2312 gbk gb18030 "
    "big5 euc_kr idna punycode unicode_escape raw_unicode_escape"
)


def warm_up() -> list[Callable[[], object]]:
    """Calls that load what these modules load late; a walled process can open no file any more."""
    return [
        lambda: [hashlib.new(name, b"") for name in sorted(hashlib.algorithms_available)],
        lambda: hmac.new(b"k", b"m", "sha256").hexdigest(),
        lambda: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1),
        lambda: yaml.safe_dump(yaml.safe_load("a: [1, 2.5, 2026-01-01, 2026-01-01T00:00:00Z]")),
        lambda: json.dumps({"a": [1.5, None]}, indent=1),
        lambda: re.compile(r"(?P<a>\w+)\s", re.IGNORECASE).sub(r"\g<a>", "a b"),
        lambda: csv.Sniffer().sniff("a,b\n1,2\n"),
        lambda: string.Template("$a").substitute(a=1),
        lambda: html.unescape("&auml;"),
        lambda: urllib.parse.urlsplit("http://[::1]:80/ä?a=b#c"),
        lambda: [codecs.lookup(name) for name in _CODECS.split()],
        lambda: "ä.example".encode("idna"),
        lambda: unicodedata.normalize("NFKC", "ﬁ"),
    ]
