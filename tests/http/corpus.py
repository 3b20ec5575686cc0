"""Byte streams and what a connection makes of them: one Case each, with the section of the RFC that asks for it.

`outcome` lists the requests that are read, as "METHOD target body", and at last how the connection stands:
    open       it waits for more
    closed     it ended without an error
    <status>   it was refused with that status, and ended
The limits are those of LIMITS. `eof`: the client shuts its writing side behind the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LIMITS: dict[str, Any] = {"max_target_bytes": 200, "max_header_bytes": 1000}
MAX_BODY_BYTES = 1000


@dataclass(frozen=True)
class Case:
    name: str
    rfc: str
    stream: bytes
    outcome: tuple[str, ...]
    eof: bool = False


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return head(*fields, line=b"POST /p HTTP/1.1") + body


def length(value: bytes, body: bytes = b"") -> bytes:
    return post(b"Content-Length: " + value, body=body)


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def line(text: bytes) -> bytes:
    return head(line=text)


GET = "GET / "
OPEN = (GET, "open")

METHODS = [
    *(
        Case(f"method {name}", "9110 9.1", line(name.encode() + b" / HTTP/1.1"), (f"{name} / ", "open"))
        for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
    ),
    Case("unknown method", "9110 9.1", line(b"BREW / HTTP/1.1"), ("501",)),
    Case("method in lower case is another method", "9110 9.1", line(b"get / HTTP/1.1"), ("501",)),
    Case("WebDAV method", "9110 9.1", line(b"PROPFIND / HTTP/1.1"), ("501",)),
    Case("method with every token character", "9110 5.6.2", line(b"!#$%&'*+-.^_`|~9aZ / HTTP/1.1"), ("501",)),
    Case("method longer than any known", "9112 3", b"A" * 40, ("501",)),
    Case("method with a comma", "9110 5.6.2", line(b"GE,T / HTTP/1.1"), ("400",)),
    Case("method with NUL", "9110 5.6.2", line(b"GE\0T / HTTP/1.1"), ("400",)),
    Case("method with obs-text", "9110 5.6.2", line(b"G\xc9T / HTTP/1.1"), ("400",)),
    Case("CONNECT", "9110 9.3.6", line(b"CONNECT a:443 HTTP/1.1"), ("501",)),
    Case("CONNECT with a path", "9112 3.2.3", line(b"CONNECT / HTTP/1.1"), ("501",)),
]

REQUEST_LINES = [
    Case("space before the method", "9112 3", line(b" GET / HTTP/1.1"), ("400",)),
    Case("tab for a space", "9112 3", line(b"GET\t/ HTTP/1.1"), ("400",)),
    Case("two spaces before the target", "9112 3", line(b"GET  / HTTP/1.1"), ("400",)),
    Case("two spaces before the version", "9112 3", line(b"GET /  HTTP/1.1"), ("400",)),
    Case("space behind the version", "9112 3", line(b"GET / HTTP/1.1 "), ("400",)),
    Case("space in the target", "9112 3.2", line(b"GET /a b HTTP/1.1"), ("400",)),
    Case("line ends with a bare LF", "9112 2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n", ("400",)),
    Case("line ends with a bare CR", "9112 2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n", ("400",)),
    Case("CR CR LF", "9112 2.2", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", ("400",)),
    Case("everything with bare LFs", "9112 2.2", b"GET / HTTP/1.1\nHost: a\n\n", ("400",)),
    Case("method only", "9112 3", b"GET\r\n\r\n", ("400",)),
    Case("no method", "9112 3", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", ("400",)),
    Case("a TLS hello", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ("400",)),
    Case("an answer for a request", "9112 3", b"HTTP/1.1 200 OK\r\n\r\n", ("400",)),
    Case("JSON for a request", "9112 3", b'{"a": 1}\r\n\r\n', ("400",)),
    Case("one empty line first", "9112 2.2", b"\r\n" + head(), OPEN),
    Case("eight empty lines first", "9112 2.2", b"\r\n" * 8 + head(), OPEN),
    Case("nine empty lines first", "9112 2.2", b"\r\n" * 9 + head(), ("400",)),
    Case("empty lines without end", "9112 2.2", b"\r\n" * 50, ("400",)),
    Case("only an empty line", "9112 2.2", b"\r\n", ("open",)),
    Case("only an empty line, then the end", "9112 2.2", b"\r\n", ("closed",), eof=True),
    Case("a bare LF first", "9112 2.2", b"\n" + head(), ("400",)),
    Case("a bare CR first", "9112 2.2", b"\r" + head(), ("400",)),
    Case("empty line between requests", "9112 2.2", length(b"1", b"x") + b"\r\n" + head(), ("POST /p x", GET, "open")),
]

VERSIONS = [
    Case("HTTP/1.0 without Host", "9112 2.3", b"GET / HTTP/1.0\r\n\r\n", (GET, "closed")),
    Case("HTTP/1.0 kept alive", "9112 9.3", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", OPEN),
    Case("HTTP/1.2 is read as 1.1", "9110 2.5", line(b"GET / HTTP/1.2"), OPEN),
    Case("HTTP/1.9 without Host", "9112 3.2", b"GET / HTTP/1.9\r\n\r\n", ("400",)),
    Case("HTTP/0.9 by name", "9110 15.6.6", line(b"GET / HTTP/0.9"), ("505",)),
    Case("HTTP/0.9 as it was", "9112 3", b"GET /\r\n", ("400",)),
    Case("HTTP/2.0", "9110 15.6.6", line(b"GET / HTTP/2.0"), ("505",)),
    Case("HTTP/3.0", "9110 15.6.6", line(b"GET / HTTP/3.0"), ("505",)),
    Case("the preface of HTTP/2", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ("505",)),
    Case("HTTP/2 without a minor version", "9112 2.3", line(b"GET / HTTP/2"), ("400",)),
    Case("HTTP/1.10", "9112 2.3", line(b"GET / HTTP/1.10"), ("400",)),
    Case("HTTP/01.1", "9112 2.3", line(b"GET / HTTP/01.1"), ("400",)),
    Case("HTTP/1,1", "9112 2.3", line(b"GET / HTTP/1,1"), ("400",)),
    Case("http/1.1 in lower case", "9112 2.3", line(b"GET / http/1.1"), ("400",)),
    Case("HTTPS/1.1", "9112 2.3", line(b"GET / HTTPS/1.1"), ("400",)),
    Case("another protocol", "9112 2.3", line(b"GET / ICE/1.0"), ("400",)),
    Case("HTTP/1.1 with letters", "9112 2.3", line(b"GET / HTTP/1.x"), ("400",)),
]

TARGETS = [
    Case("query", "9112 3.2.1", line(b"GET /a?b=c&d HTTP/1.1"), ("GET /a?b=c&d ", "open")),
    Case(
        "characters that URIs leave out",
        "9112 3.2",
        line(b'GET /a?x[]={"y"}|z HTTP/1.1'),
        ('GET /a?x[]={"y"}|z ', "open"),
    ),
    Case("path of two slashes", "9112 3.2.1", line(b"GET //x/y HTTP/1.1"), ("GET //x/y ", "open")),
    Case("percent-encoding stays", "9112 3.2.1", line(b"GET /a%20b%00 HTTP/1.1"), ("GET /a%20b%00 ", "open")),
    Case("fragment", "9112 3.2", line(b"GET /a#b HTTP/1.1"), ("400",)),
    Case("no slash", "9112 3.2.1", line(b"GET a HTTP/1.1"), ("400",)),
    Case("query only", "9112 3.2.1", line(b"GET ?a HTTP/1.1"), ("400",)),
    Case("obs-text", "9112 3.2", line(b"GET /\xc3\xa9 HTTP/1.1"), ("400",)),
    Case("control character", "9112 3.2", line(b"GET /\x01 HTTP/1.1"), ("400",)),
    Case("NUL in the target", "9112 3.2", line(b"GET /\0 HTTP/1.1"), ("400",)),
    Case("DEL in the target", "9112 3.2", line(b"GET /\x7f HTTP/1.1"), ("400",)),
    Case("absolute-form", "9112 3.2.2", line(b"GET http://b.example/x?y HTTP/1.1"), ("GET /x?y ", "open")),
    Case("absolute-form with a port", "9112 3.2.2", line(b"GET HTTP://b:81/ HTTP/1.1"), (GET, "open")),
    Case("absolute-form, https", "9112 3.2.2", line(b"GET https://b/x HTTP/1.1"), ("GET /x ", "open")),
    Case("absolute-form without a path", "9112 3.2.2", line(b"GET http://b HTTP/1.1"), OPEN),
    Case("absolute-form, query only", "9112 3.2.2", line(b"GET http://b?y HTTP/1.1"), ("GET /?y ", "open")),
    Case("absolute-form, IPv6", "9112 3.2.2", line(b"GET http://[::1]:80/ HTTP/1.1"), OPEN),
    Case("absolute-form still needs Host", "9112 3.2", b"GET http://b/ HTTP/1.1\r\n\r\n", ("400",)),
    Case("absolute-form without a host", "9110 4.2.1", line(b"GET http:///x HTTP/1.1"), ("400",)),
    Case("absolute-form with a port only", "9110 4.2.1", line(b"GET http://:80/x HTTP/1.1"), ("400",)),
    Case("absolute-form with user information", "9110 4.2.4", line(b"GET http://u:p@b/ HTTP/1.1"), ("400",)),
    Case("absolute-form, another scheme", "9112 3.2.2", line(b"GET ftp://b/ HTTP/1.1"), ("400",)),
    Case("authority-form without CONNECT", "9112 3.2.3", line(b"GET a:80 HTTP/1.1"), ("400",)),
    Case("asterisk-form", "9112 3.2.4", line(b"OPTIONS * HTTP/1.1"), ("OPTIONS * ", "open")),
    Case("asterisk without OPTIONS", "9112 3.2.4", line(b"GET * HTTP/1.1"), ("400",)),
    Case(
        "target of just the limit",
        "9110 15.5.15",
        line(b"GET /" + b"a" * 199 + b" HTTP/1.1"),
        (f"GET /{'a' * 199} ", "open"),
    ),
    Case("target one over the limit", "9110 15.5.15", line(b"GET /" + b"a" * 200 + b" HTTP/1.1"), ("414",)),
    Case("target without end", "9110 15.5.15", b"GET /" + b"a" * 500, ("414",)),
    Case("bad byte before the target's limit", "9112 3.2", b"GET /" + b"a" * 100 + b"\0" + b"a" * 500, ("400",)),
    Case("bad byte behind the target's limit", "9110 15.5.15", b"GET /" + b"a" * 300 + b"\0", ("414",)),
]

HOSTS = [
    Case("Host missing", "9112 3.2", head(host=b""), ("400",)),
    Case("Host twice", "9112 3.2", head(b"Host: a"), ("400",)),
    Case("Host twice, different", "9112 3.2", head(b"Host: b"), ("400",)),
    Case("Host twice in HTTP/1.0", "9112 3.2", head(b"Host: a", line=b"GET / HTTP/1.0"), ("400",)),
    Case("Host empty", "9112 3.2", head(host=b"Host:\r\n"), OPEN),
    Case("Host with a port", "9112 3.2", head(host=b"hOsT: a.example:8080\r\n"), OPEN),
    Case("Host with an empty port", "9110 7.2", head(host=b"Host: a:\r\n"), OPEN),
    Case("Host IPv4", "9110 7.2", head(host=b"Host: 127.0.0.1:80\r\n"), OPEN),
    Case("Host IPv6", "9110 7.2", head(host=b"Host: [::1]:80\r\n"), OPEN),
    Case("Host IPv6 without brackets", "9110 7.2", head(host=b"Host: ::1\r\n"), ("400",)),
    Case("Host percent-encoded", "3986 3.2.2", head(host=b"Host: a%2db\r\n"), OPEN),
    Case("Host badly percent-encoded", "3986 3.2.2", head(host=b"Host: a%zz\r\n"), ("400",)),
    Case("Host with a path", "9112 3.2", head(host=b"Host: a/b\r\n"), ("400",)),
    Case("Host with user information", "9112 3.2", head(host=b"Host: u@a\r\n"), ("400",)),
    Case("Host with a scheme", "9112 3.2", head(host=b"Host: http://a\r\n"), ("400",)),
    Case("Host list", "9112 3.2", head(host=b"Host: a, b\r\n"), ("400",)),
    Case("Host with a port of letters", "9112 3.2", head(host=b"Host: a:http\r\n"), ("400",)),
    Case("Host with obs-text", "9112 3.2", head(host=b"Host: \xe9\r\n"), ("400",)),
    Case("bad Host in HTTP/1.0", "9112 3.2", head(host=b"Host: a b\r\n", line=b"GET / HTTP/1.0"), ("400",)),
]

FIELDS = [
    Case("empty value", "9110 5.5", head(b"X:"), OPEN),
    Case("white space around a value", "9112 5.1", head(b"X: \t a b \t "), OPEN),
    Case("obs-text in a value", "9110 5.5", head(b"X: caf\xe9"), OPEN),
    Case("tab in a value", "9110 5.5", head(b"X: a\tb"), OPEN),
    Case("colons in a value", "9112 5", head(b"X: a:b::"), OPEN),
    Case("many fields", "9112 5", head(*(b"X-%d: %d" % (n, n) for n in range(50))), OPEN),
    Case("no field at all, 1.0", "9112 2.1", b"GET / HTTP/1.0\r\n\r\n", (GET, "closed")),
    Case("space before the colon", "9112 5.1", head(b"X : a"), ("400",)),
    Case("tab before the colon", "9112 5.1", head(b"X\t: a"), ("400",)),
    Case("space before Host's colon", "9112 5.1", head(host=b"Host : a\r\n"), ("400",)),
    Case("no colon", "9112 5", head(b"X"), ("400",)),
    Case("no name", "9112 5", head(b": a"), ("400",)),
    Case("name with a space", "9110 5.1", head(b"X Y: a"), ("400",)),
    Case("name with a bracket", "9110 5.1", head(b"X(Y): a"), ("400",)),
    Case("name with obs-text", "9110 5.1", head(b"X\xe9: a"), ("400",)),
    Case("name with NUL", "9110 5.1", head(b"X\0: a"), ("400",)),
    Case("folded with a space", "9112 5.2", head(b"X: a\r\n b"), ("400",)),
    Case("folded with a tab", "9112 5.2", head(b"X: a\r\n\tb"), ("400",)),
    Case("first field indented", "9112 2.2", head(host=b" Host: a\r\n"), ("400",)),
    Case("a line of a space only", "9112 5.2", head(b"X: a\r\n "), ("400",)),
    Case("NUL in a value", "9110 5.5", head(b"X: a\0b"), ("400",)),
    Case("control character in a value", "9110 5.5", head(b"X: a\x01b"), ("400",)),
    Case("vertical tab in a value", "9110 5.5", head(b"X: a\x0bb"), ("400",)),
    Case("form feed in a value", "9110 5.5", head(b"X: a\x0cb"), ("400",)),
    Case("DEL in a value", "9110 5.5", head(b"X: a\x7fb"), ("400",)),
    Case("bare CR in a value", "9112 2.2", head(b"X: a\rb"), ("400",)),
    Case("bare LF in a value", "9112 2.2", head(b"X: a\nY: b"), ("400",)),
    Case("bare CR before the line end", "9112 2.2", head(b"X: a\r"), ("400",)),
    Case("bare LF ends the header", "9112 2.2", b"GET / HTTP/1.1\r\nHost: a\r\n\n", ("400",)),
    Case("header of just the limit", "6585 5", head(b"X: " + b"a" * 986), OPEN),
    Case("header one over the limit", "6585 5", head(b"X: " + b"a" * 987), ("431",)),
    Case("header without end", "6585 5", b"GET / HTTP/1.1\r\nX: " + b"a" * 2000, ("431",)),
    Case("many fields over the limit", "6585 5", head(*(b"X: %d" % n for n in range(500))), ("431",)),
    Case("bad byte before the header's limit", "9110 5.5", head(b"X: \0" + b"a" * 2000), ("400",)),
    Case("bad byte behind the header's limit", "6585 5", head(b"X: " + b"a" * 2000 + b"\0"), ("431",)),
    Case("head cut short", "9112 8", b"GET / HTTP/1.1\r\nHost: a\r\n", ("400",), eof=True),
    Case("request line cut short", "9112 8", b"GET /", ("400",), eof=True),
    Case("nothing at all", "9112 9.5", b"", ("closed",), eof=True),
    Case("head so far", "9112 2.1", b"GET / HTTP/1.1\r\nHost: a\r\n", ("open",)),
]

LENGTHS = [
    Case("length", "9112 6.2", length(b"5", b"abcde"), ("POST /p abcde", "open")),
    Case("length 0", "9112 6.2", length(b"0"), ("POST /p ", "open")),
    Case("no length, no body", "9112 6.3", post(), ("POST /p ", "open")),
    Case("GET with a body", "9110 9.3.1", head(b"Content-Length: 2") + b"ab", ("GET / ab", "open")),
    Case("white space around the length", "9112 5.1", length(b" \t3 \t", b"abc"), ("POST /p abc", "open")),
    Case("length with leading zeros", "9110 8.6", length(b"0003", b"abc"), ("POST /p abc", "open")),
    Case(
        "body that looks like a head",
        "9112 6.2",
        length(b"%d" % len(head()), head()),
        (f"POST /p {head().decode()}", "open"),
    ),
    Case(
        "body of every byte",
        "9112 6.2",
        length(b"256", bytes(range(256))),
        (f"POST /p {bytes(range(256)).decode('latin-1')}", "open"),
    ),
    Case("body of just the limit", "9110 15.5.14", length(b"1000", b"x" * 1000), (f"POST /p {'x' * 1000}", "open")),
    Case("length one over the limit", "9110 15.5.14", length(b"1001", b"x" * 1001), ("413",)),
    Case("length over 64 bits", "9110 8.6", length(b"18446744073709551617"), ("413",)),
    Case("length of a thousand digits", "9110 8.6", length(b"9" * 900), ("413",)),
    Case("length of a thousand zeros", "9110 8.6", length(b"0" * 900), ("400",)),
    Case("length with a plus", "9110 8.6", length(b"+5", b"abcde"), ("400",)),
    Case("negative length", "9110 8.6", length(b"-5", b"abcde"), ("400",)),
    Case("length in hex", "9110 8.6", length(b"0x5", b"abcde"), ("400",)),
    Case("length with an underscore", "9110 8.6", length(b"1_0", b"abcdeabcde"), ("400",)),
    Case("length with a fraction", "9110 8.6", length(b"5.0", b"abcde"), ("400",)),
    Case("empty length", "9110 8.6", length(b"", b"abcde"), ("400",)),
    Case("length of letters", "9110 8.6", length(b"five", b"abcde"), ("400",)),
    Case("two numbers", "9110 8.6", length(b"5 5", b"abcde"), ("400",)),
    Case("list of one length", "9110 8.6", length(b"5, 5", b"abcde"), ("400",)),
    Case("list of different lengths", "9112 6.3", length(b"5, 6", b"abcde"), ("400",)),
    Case("length twice, equal", "9110 8.6", post(b"Content-Length: 2", b"content-length: 2", body=b"ab"), ("400",)),
    Case(
        "length twice, different", "9112 6.3", post(b"Content-Length: 2", b"Content-Length: 3", body=b"abc"), ("400",)
    ),
    Case(
        "length twice in different spelling",
        "9112 6.3",
        post(b"Content-Length: 1", b"CONTENT-LENGTH: 01", body=b"a"),
        ("400",),
    ),
    Case(
        "length and a field like it",
        "9110 8.6",
        post(b"X-Content-Length: 9", b"Content-Length: 1", body=b"a"),
        ("POST /p a", "open"),
    ),
    Case("space before the length's colon", "9112 5.1", post(b"Content-Length : 5", body=b"abcde"), ("400",)),
    Case("body cut short", "9112 8", length(b"5", b"abc"), ("400",), eof=True),
    Case("body so far", "9112 6.2", length(b"5", b"abc"), ("open",)),
    Case("length and end", "9112 8", length(b"3", b"abc"), ("POST /p abc", "closed"), eof=True),
    Case(
        "length in HTTP/1.0", "9112 6.2", b"POST /p HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", ("POST /p ab", "closed")
    ),
]

CODINGS = [
    Case(
        "TE and length",
        "9112 6.3",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
        ("400",),
    ),
    Case(
        "length and TE",
        "9112 6.3",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        ("400",),
    ),
    Case("TE in HTTP/1.0", "9112 6.1", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ("400",)),
    Case(
        "TE is not case-sensitive",
        "9112 7",
        post(b"TRANSFER-ENCODING: Chunked", body=b"1\r\na\r\n0\r\n\r\n"),
        ("POST /p a", "open"),
    ),
    Case("unknown coding", "9112 6.1", post(b"Transfer-Encoding: gzip"), ("501",)),
    Case("gzip, chunked", "9112 6.1", post(b"Transfer-Encoding: gzip, chunked"), ("501",)),
    Case("identity", "9112 7", post(b"Transfer-Encoding: identity"), ("501",)),
    Case("xchunked", "9112 6.1", post(b"Transfer-Encoding: xchunked"), ("501",)),
    Case("chunked with a parameter", "9112 7", post(b"Transfer-Encoding: chunked;q=1"), ("501",)),
    Case("chunked is not last", "9112 6.3", post(b"Transfer-Encoding: chunked, gzip"), ("400",)),
    Case("chunked twice", "9112 6.1", post(b"Transfer-Encoding: chunked, chunked"), ("400",)),
    Case(
        "chunked in two lines", "9112 6.1", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), ("400",)
    ),
    Case(
        "chunked, then gzip in another line",
        "9112 6.3",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
        ("400",),
    ),
    Case("empty coding", "9112 6.3", post(b"Transfer-Encoding:"), ("400",)),
    Case("quoted coding", "9112 7", post(b'Transfer-Encoding: "chunked"'), ("501",)),
    Case("space before TE's colon", "9112 5.1", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), ("400",)),
    Case(
        "vertical tab before chunked", "9110 5.5", post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), ("400",)
    ),
]

CHUNKS = [
    Case("no chunk", "9112 7.1", chunked(b"0\r\n\r\n"), ("POST /p ", "open")),
    Case("one chunk", "9112 7.1", chunked(b"3\r\nabc\r\n0\r\n\r\n"), ("POST /p abc", "open")),
    Case("two chunks", "9112 7.1", chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), ("POST /p abcde", "open")),
    Case(
        "sizes in both cases",
        "9112 7.1",
        chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        ("POST /p 01234567890123456789", "open"),
    ),
    Case("size with leading zeros", "9112 7.1", chunked(b"0003\r\nabc\r\n000\r\n\r\n"), ("POST /p abc", "open")),
    Case("chunk of line ends", "9112 7.1", chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), ("POST /p \r\n\r\n", "open")),
    Case("extension", "9112 7.1.1", chunked(b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n"), ("POST /p abc", "open")),
    Case("quoted extension", "9112 7.1.1", chunked(b'3;a="b;c d"\r\nabc\r\n0\r\n\r\n'), ("POST /p abc", "open")),
    Case(
        "bad white space before an extension",
        "9112 7.1.1",
        chunked(b"3 \t; a = b\r\nabc\r\n0\r\n\r\n"),
        ("POST /p abc", "open"),
    ),
    Case("trailer", "9112 7.1.2", chunked(b"0\r\nX: y\r\n\r\n"), ("POST /p ", "open")),
    Case(
        "trailer named like framing",
        "9110 6.5.1",
        chunked(b"1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n"),
        ("POST /p a", "open"),
    ),
    Case(
        "chunks, then another request",
        "9112 9.3.2",
        chunked(b"1\r\na\r\n0\r\n\r\n") + head(),
        ("POST /p a", GET, "open"),
    ),
    Case(
        "trailers, then another request",
        "9112 9.3.2",
        chunked(b"0\r\nX: y\r\nZ:\r\n\r\n") + head(),
        ("POST /p ", GET, "open"),
    ),
    Case(
        "chunks of just the limit",
        "9110 15.5.14",
        chunked(b"3E8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"),
        (f"POST /p {'x' * 1000}", "open"),
    ),
    Case("chunk over the limit, announced", "9110 15.5.14", chunked(b"3E9\r\n"), ("413",)),
    Case("chunks over the limit together", "9110 15.5.14", chunked(b"1F4\r\n" + b"x" * 500 + b"\r\n1F5\r\n"), ("413",)),
    Case("chunk over 64 bits", "9112 7.1", chunked(b"10000000000000001\r\na\r\n"), ("413",)),
    Case("chunk size of many digits", "9112 7.1", chunked(b"F" * 2000), ("413",)),
    Case("long extension", "9112 7.1.1", chunked(b"1;" + b"a" * 2000 + b"\r\n"), ("413",)),
    Case("extensions without end", "9112 7.1.1", chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20), ("413",)),
    Case("size is no number", "9112 7.1", chunked(b"x\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("size with 0x", "9112 7.1", chunked(b"0x1\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("size with a plus", "9112 7.1", chunked(b"+1\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("negative size", "9112 7.1", chunked(b"-1\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("size with an underscore", "9112 7.1", chunked(b"1_0\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("no size", "9112 7.1", chunked(b"\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("extension without a size", "9112 7.1", chunked(b";a\r\n"), ("400",)),
    Case("space before the size", "9112 7.1", chunked(b" 1\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("space behind the size", "9112 7.1", chunked(b"1 \r\na\r\n0\r\n\r\n"), ("400",)),
    Case("bare LF behind the size", "9112 7.1", chunked(b"1\na\r\n0\r\n\r\n"), ("400",)),
    Case("bare CR behind the size", "9112 7.1", chunked(b"1\ra\r\n0\r\n\r\n"), ("400",)),
    Case("bare LF in an extension", "9112 7.1.1", chunked(b"1;a\nb\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("bare CR in an extension", "9112 7.1.1", chunked(b"1;a\rb\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("NUL in an extension", "9112 7.1.1", chunked(b"1;a\0\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("bare LF behind the data", "9112 7.1", chunked(b"1\r\na\n0\r\n\r\n"), ("400",)),
    Case("bare CR behind the data", "9112 7.1", chunked(b"1\r\na\r0\r\n\r\n"), ("400",)),
    Case("chunk longer than its size", "9112 7.1", chunked(b"1\r\nab\r\n0\r\n\r\n"), ("400",)),
    Case("chunk shorter than its size", "9112 7.1", chunked(b"3\r\na\r\n0\r\n\r\n"), ("400",)),
    Case("bare LFs end the body", "9112 7.1", chunked(b"0\n\n"), ("400",)),
    Case("bare LF ends the trailers", "9112 7.1.2", chunked(b"0\r\n\nX"), ("400",)),
    Case("bare LF in a trailer", "9112 7.1.2", chunked(b"0\r\nX: a\nY: b\r\n\r\n"), ("400",)),
    Case("trailer without a colon", "9112 7.1.2", chunked(b"0\r\nX\r\n\r\n"), ("400",)),
    Case("space before a trailer's colon", "9112 7.1.2", chunked(b"0\r\nX : y\r\n\r\n"), ("400",)),
    Case("folded trailer", "9112 7.1.2", chunked(b"0\r\nX: y\r\n z\r\n\r\n"), ("400",)),
    Case("control character in a trailer", "9112 7.1.2", chunked(b"0\r\nX: \x01\r\n\r\n"), ("400",)),
    Case("trailers over the limit", "6585 5", chunked(b"0\r\nX: " + b"a" * 2000), ("431",)),
    Case("a request for a trailer", "9112 7.1.2", chunked(b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), ("400",)),
    Case("chunks cut short", "9112 8", chunked(b"3\r\nab"), ("400",), eof=True),
    Case("no last chunk", "9112 8", chunked(b"1\r\na\r\n"), ("400",), eof=True),
    Case("no end behind the last chunk", "9112 8", chunked(b"1\r\na\r\n0\r\n"), ("400",), eof=True),
    Case("chunks so far", "9112 7.1", chunked(b"1\r\na\r\n0\r\n"), ("open",)),
]

CONNECTIONS = [
    Case("two requests", "9112 9.3", head() + head(line=b"GET /2 HTTP/1.1"), (GET, "GET /2 ", "open")),
    Case("ten requests and the end", "9112 9.3.2", head() * 10, (*[GET] * 10, "closed"), eof=True),
    Case(
        "bodies between",
        "9112 9.3.2",
        length(b"1", b"a") + length(b"1", b"b") + head(),
        ("POST /p a", "POST /p b", GET, "open"),
    ),
    Case("bytes behind a body are the next request", "9112 6.3", length(b"1", b"ab") + head(), ("POST /p a", "501")),
    Case("a good request, then a bad one", "9112 9.3.2", head() + b"\0", (GET, "400")),
    Case("close", "9112 9.6", head(b"Connection: close") + head(), (GET, "closed")),
    Case("close in a list", "9112 9.6", head(b"Connection: foo, CLOSE ,bar") + head(), (GET, "closed")),
    Case(
        "close in a second line", "9112 9.6", head(b"Connection: foo", b"Connection: close") + head(), (GET, "closed")
    ),
    Case("close wins", "9112 9.3", head(b"Connection: keep-alive, close") + head(), (GET, "closed")),
    Case("keep-alive", "9112 9.3", head(b"Connection: keep-alive") + head(), (GET, GET, "open")),
    Case("an option like close", "9112 9.6", head(b"Connection: closed") + head(), (GET, GET, "open")),
    Case(
        "upgrade is ignored",
        "9110 7.8",
        head(b"Connection: Upgrade", b"Upgrade: websocket") + head(),
        (GET, GET, "open"),
    ),
    Case(
        "h2c upgrade is ignored",
        "9110 7.8",
        head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
        OPEN,
    ),
    Case("HTTP/1.0 closes", "9112 9.3", head(line=b"GET / HTTP/1.0") + head(), (GET, "closed")),
    Case(
        "HTTP/1.0 closes though kept alive",
        "9112 9.3",
        head(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"),
        (GET, "closed"),
    ),
    Case(
        "100-continue",
        "9110 10.1.1",
        post(b"Expect: 100-continue", b"Content-Length: 1", body=b"a"),
        ("POST /p a", "open"),
    ),
    Case(
        "100-Continue in another case",
        "9110 10.1.1",
        post(b"Expect: 100-Continue", b"Content-Length: 1", body=b"a"),
        ("POST /p a", "open"),
    ),
    Case("another expectation", "9110 10.1.1", head(b"Expect: the-worst"), OPEN),
    Case(
        "100-continue over the limit", "9110 10.1.1", post(b"Expect: 100-continue", b"Content-Length: 9999"), ("413",)
    ),
    Case("smuggled behind a refused length", "9112 11.2", length(b"+0") + head(), ("400",)),
    Case(
        "smuggled behind TE and length",
        "9112 11.2",
        post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") + head(),
        ("400",),
    ),
]

CASES = [
    *METHODS,
    *REQUEST_LINES,
    *VERSIONS,
    *TARGETS,
    *HOSTS,
    *FIELDS,
    *LENGTHS,
    *CODINGS,
    *CHUNKS,
    *CONNECTIONS,
]
