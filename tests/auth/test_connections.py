"""Where a user may connect to: rules, URLs as attackers write them, and addresses that are not public."""

from __future__ import annotations

import contextlib
import random
import time
from urllib.parse import unquote, urlsplit

import pytest

from whd.auth.addresses import kind_of
from whd.auth.connections import BadUrl, Target, check_url, is_address_allowed, rule_fault
from whd.auth.permissions import Action, PermissionDenied, may
from whd.model.snapshot import User

RULES = (
    "https://api.example.com/*",
    "https://*.wild.example/v1/*",
    "https://*.*.deep.example/*",
    "http://plain.example:8080/items",
    "https://root.example",
    "https://files.example/public/*",
    "https://files.example/*/readme",
    "http://127.0.0.1:9000/*",
    "http://[::1]/*",
    "https://bücher.example/*",
    "https://Case.Example/Path/caf%c3%a9/*",
    "https://*/inside/*",
    "https://*.*.*.*/addresses/*",
)
KEVIN = User("kevin", connections={"REST": RULES})

# What is sent for it.
ALLOWED = {
    "https://api.example.com/": "https://api.example.com/",
    "https://api.example.com": "https://api.example.com/",
    "HTTPS://API.Example.COM/A": "https://api.example.com/A",
    "https://api.example.com:443/a": "https://api.example.com/a",
    "https://api.example.com:0443/a": "https://api.example.com/a",
    "https://api.example.com/a?b=c&d": "https://api.example.com/a?b=c&d",
    "https://api.example.com?b=c": "https://api.example.com/?b=c",
    "https://api.example.com/a?": "https://api.example.com/a",
    "https://api.example.com/a#https://evil.example/": "https://api.example.com/a",
    "https://api.example.com/a?b#c@d": "https://api.example.com/a?b",
    "https://api.example.com#?x": "https://api.example.com/",
    "https://api.example.com/?next=https://evil.example/@x": "https://api.example.com/?next=https://evil.example/@x",
    "https://api.example.com/a@b:c": "https://api.example.com/a@b:c",
    "https://api.example.com//a///b": "https://api.example.com/a/b",
    "https://api.example.com/a/./b/../c": "https://api.example.com/a/c",
    "https://api.example.com/a/..": "https://api.example.com/",
    "https://api.example.com/a/b/.": "https://api.example.com/a/b/",
    "https://api.example.com/../../a": "https://api.example.com/a",
    "https://api.example.com/%7ekevin/%41%2d": "https://api.example.com/~kevin/A-",
    "https://api.example.com/group%2fproject": "https://api.example.com/group%2Fproject",
    "https://api.example.com/ä?ö=ü": "https://api.example.com/%C3%A4?%C3%B6=%C3%BC",
    'https://api.example.com/a"b<c>{d}|^`': "https://api.example.com/a%22b%3Cc%3E%7Bd%7D%7C%5E%60",
    "https://api.example.com/a?filter[x]=1&y='": "https://api.example.com/a?filter[x]=1&y='",
    "https://api.example.com/...": "https://api.example.com/...",
    "https://api.example.com/a;b=c": "https://api.example.com/a;b=c",
    "https://api.example.com/100%25": "https://api.example.com/100%25",
    "https://api.example.com/a b/c d": "https://api.example.com/a%20b/c%20d",
    "https://api.example.com/a%20b c": "https://api.example.com/a%20b%20c",
    "https://api.example.com/search?q=a b&r= ä ": "https://api.example.com/search?q=a%20b&r=%20%C3%A4%20",
    "https://api.example.com/a#b c": "https://api.example.com/a",
    "https://files.example/public/a b": "https://files.example/public/a%20b",
    "https://x.wild.example/v1/a": "https://x.wild.example/v1/a",
    "https://x_1.wild.example/v1/": "https://x_1.wild.example/v1/",
    "https://ä.wild.example/v1/": "https://xn--4ca.wild.example/v1/",
    "https://a.b.deep.example/": "https://a.b.deep.example/",
    "http://plain.example:8080/items": "http://plain.example:8080/items",
    "http://plain.example:8080/items?page=2": "http://plain.example:8080/items?page=2",
    "http://plain.example:8080/x/%2e%2e/items": "http://plain.example:8080/items",
    "https://root.example": "https://root.example/",
    "https://root.example/?a": "https://root.example/?a",
    "https://files.example/public/a/b": "https://files.example/public/a/b",
    "https://files.example/public/": "https://files.example/public/",
    "https://files.example/a/b/readme": "https://files.example/a/b/readme",
    "http://127.0.0.1:9000/x": "http://127.0.0.1:9000/x",
    "http://\uff11\uff12\uff17.0.0.1:9000/x": "http://127.0.0.1:9000/x",
    "http://127\u30020.0.1:9000/x": "http://127.0.0.1:9000/x",
    "http://[::1]/": "http://[::1]/",
    "http://[0:0::0:1]:80/": "http://[::1]/",
    "https://bücher.example/": "https://xn--bcher-kva.example/",
    "https://BÜCHER.example/": "https://xn--bcher-kva.example/",
    "https://XN--BCHER-KVA.example/": "https://xn--bcher-kva.example/",
    "https://case.example/Path/café/x": "https://case.example/Path/caf%C3%A9/x",
    "https://localhost/inside/x": "https://localhost/inside/x",
}

REFUSED = {
    "http://api.example.com/": "another scheme",
    "https://api.example.com:8443/": "another port",
    "https://api.example.com:80/": "another port",
    "https://example.com/": "a parent of the host",
    "https://x.api.example.com/": "a child of the host",
    "https://api.example.com.evil.example/": "the host as a prefix",
    "https://evilapi.example.com/": "the host as a suffix",
    "https://apixexample.com/": "a dot is a dot",
    "https://evil.example/https://api.example.com/": "the rule in the path",
    "https://evil.example?https://api.example.com/": "the rule in the query",
    "https://evil.example#https://api.example.com/": "the rule in the fragment",
    "https://wild.example/v1/a": "a star is not nothing",
    "https://a.b.wild.example/v1/a": "a star is one label",
    "https://x.wild.example/v2/a": "another path",
    "https://x.wild.example/v1/../v2/a": "another path after normalisation",
    "https://x.wild.example/v1/%2e%2E/v2": "another path after normalisation",
    "https://x.wild.example/v1": "the rule has a slash there",
    "https://x.wild.example/v1%2Fa": "an encoded slash is not a slash",
    "https://x.wild.example/V1/a": "the path's case counts",
    "https://a.deep.example/": "two stars are two labels",
    "http://plain.example/items": "another port",
    "http://plain.example:8080/items/": "exactly as written",
    "http://plain.example:8080/items/1": "exactly as written",
    "http://plain.example:8080/items;v=1": "exactly as written",
    "https://root.example/a": "a rule without a path is the path /",
    "https://files.example/public/../private": "out of the folder",
    "https://files.example/public/a/../../private": "out of the folder",
    "https://files.example/public": "not in the folder",
    "https://files.example/ public/a": "a space is part of the name",
    "https://files.example/readme": "the star stands between two slashes",
    "http://127.0.0.2:9000/": "another address",
    "http://localhost:9000/": "a name is not an address",
    "http://[::ffff:127.0.0.1]:9000/": "another address",
    "http://[::2]/": "another address",
    "https://case.example/path/caf%C3%A9/x": "the path's case counts",
    "https://10.0.0.1/inside/x": "stars do not stand for addresses",
    "https://10.0.0.1/addresses/x": "stars do not stand for parts of addresses",
    "https://[fd00::1]/inside/x": "stars do not stand for addresses",
    "https://metadata.google.internal/": "nothing names it",
}

NO_URL = {
    "": "not a URL",
    "api.example.com/": "not a URL",
    "//api.example.com/": "not a URL",
    "https:/api.example.com/": "not a URL",
    "https:api.example.com/": "not a URL",
    "https//api.example.com/": "not a URL",
    "https:///a": "no host",
    "https://": "no host",
    "https://:443/": "no host",
    "https://?a": "no host",
    "ftp://api.example.com/": "scheme",
    "file:///etc/passwd": "scheme",
    "gopher://api.example.com/": "scheme",
    "javascript://api.example.com/": "scheme",
    "http\u017f://api.example.com/": "not a URL",
    "https://kevin@api.example.com/": "user information",
    "https://kevin:secret@api.example.com/": "user information",
    "https://@api.example.com/": "user information",
    "https://api.example.com@evil.example/": "user information",
    "https://api.example.com:443@evil.example/": "user information",
    "https://api.example.com%40evil.example/": "characters",
    "https://api.example.com\\@evil.example/": "backslash",
    "https://api.example.com\\.evil.example/": "backslash",
    "https:\\\\api.example.com/": "backslash",
    "https://api.example.com/a\\..\\b": "backslash",
    " https://api.example.com/": "space",
    "https://api.example.com /": "space",
    "https://api. example.com/": "space",
    "https:// api.example.com/": "space",
    "https://api.example.com/\n": "control character",
    "https://api.example.com/\r\nHost: evil.example": "control character",
    "https://api.example.com/\t": "control character",
    "https://api.example.com/\x00": "control character",
    "https://api.example.com/\x7f": "control character",
    "https://api.example.com:/": "port",
    "https://api.example.com:0/": "port",
    "https://api.example.com:65536/": "port",
    "https://api.example.com:99999999999/": "port",
    "https://api.example.com:-1/": "port",
    "https://api.example.com:+443/": "port",
    "https://api.example.com:443:443/": "port",
    "https://api.example.com:\u0664\u0664\u0663/": "port",
    "https://api.example.com:https/": "port",
    "https://api..example.com/": "empty part",
    "https://.api.example.com/": "empty part",
    "https://api.example.com./": "ends with a dot",
    "https://\u2025api.example.com/": "empty part",
    "https://-api.example.com/": "characters",
    "https://api.exam*ple.com/": "characters",
    "https://*/inside/x": "characters",
    "https://*.wild.example/v1/": "characters",
    "https://api.example.com;x/": "characters",
    "https://%61pi.example.com/": "characters",
    "https://api.example.com\uff0f.evil.example/": "characters",
    "https://api.example.com\u2100.evil.example/": "characters",
    "https://api.example.com\u00a0/": "characters",
    "https://stra\u00dfe.example/": "IDNA",
    "https://STRA\u1e9eE.example/": "IDNA",
    "https://a\u200db.example/": "IDNA",
    "https://\ud800.example/": "IDNA",
    "https://" + "a" * 64 + ".example/": "63",
    "https://" + "a." * 200 + "example/": "253",
    "https://" + "ä" * 200 + ".example/": "IDNA",
    "https://api.example.com/" + "a" * 9000: "8192",
    "http://2130706433/": "number",
    "http://0x7f000001/": "number",
    "http://0x7f.1/": "number",
    "http://0X7F.0.0.1/": "number",
    "http://0x/": "number",
    "http://017700000001/": "number",
    "http://0177.0.0.1:9000/": "number",
    "http://127.1:9000/": "number",
    "http://127.0.0.01:9000/": "number",
    "http://127.0.0.1.:9000/": "ends with a dot",
    "http://127.0.0.1.5/": "number",
    "http://256.0.0.1/": "number",
    "http://example.1/": "number",
    "http://\u2460\u2461\u2466.1/": "number",
    "http://::1/": "port",
    "http://[::1/": "cannot be read",
    "http://::1]/": "port",
    "http://[::1]x/": "cannot be read",
    "http://x[::1]/": "cannot be read",
    "http://[]/": "not an IPv6 address",
    "http://[127.0.0.1]/": "not an IPv6 address",
    "http://[v1.fe80]/": "not an IPv6 address",
    "http://[::1%25eth0]/": "zone",
    "http://[fe80::1%eth0]/": "zone",
    "https://api.example.com/%": "%25",
    "https://api.example.com/%zz": "%25",
    "https://api.example.com/a?b=100%": "%25",
    "https://api.example.com/\ud800": "surrogate",
    "https://files.example/public/..%2fprivate": "hides",
    "https://files.example/public/%2e%2e%2Fprivate": "hides",
    "https://files.example/public/a%2f..%2f..%2fprivate": "hides",
    "https://files.example/public/..%5cprivate": "hides",
    "https://files.example/public/%252e%252e/private": "hides",
    "https://files.example/public/%25252e%25252e/private": "hides",
    "https://files.example/public/..;/private": "hides",
    "https://files.example/public/..%3bx/private": "hides",
    "https://files.example/public/..%00/private": "hides",
    "https://files.example/public/..%20/private": "hides",
    "https://files.example/public/.. /private": "hides",
    "https://files.example/public/ ../private": "hides",
    "https://files.example/public/%c0%ae%c0%ae/private": "hides",
    "https://files.example/public/..%c0%afprivate": "hides",
    "https://files.example/public/%2525252525252e": "times over",
}


@pytest.mark.parametrize("url", ALLOWED)
def test_what_a_rule_names_is_allowed_and_sent_in_its_normal_form(url: str) -> None:
    assert check_url(KEVIN, "REST", url).url == ALLOWED[url]


@pytest.mark.parametrize("url", ALLOWED)
def test_the_normal_form_is_its_own_normal_form(url: str) -> None:
    once = check_url(KEVIN, "REST", url)
    assert check_url(KEVIN, "REST", once.url) == once


@pytest.mark.parametrize("url", REFUSED)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(PermissionDenied):
        check_url(KEVIN, "REST", url)


@pytest.mark.parametrize("url", NO_URL, ids=lambda url: ascii(url[:60]))
def test_what_can_be_read_in_two_ways_is_no_url_and_the_error_says_why(url: str) -> None:
    with pytest.raises(BadUrl) as caught:
        check_url(KEVIN, "REST", url)
    assert NO_URL[url] in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_refusal_names_user_action_and_url_but_no_query() -> None:
    with pytest.raises(PermissionDenied) as caught:
        check_url(KEVIN, "REST", "https://evil.example:8443/a/../b?token=secret#secret")
    assert str(caught.value) == "user kevin may not connect to https://evil.example:8443/b"
    assert caught.value.action == Action.CONNECT
    assert not may(KEVIN, Action.CONNECT, "https://api.example.com/")


def test_a_user_without_rules_or_with_rules_for_another_connector_may_not_connect() -> None:
    for user in (User("nobody"), User("nobody", connections={}), User("nobody", connections={"SSH": RULES})):
        with pytest.raises(PermissionDenied):
            check_url(user, "REST", "https://api.example.com/")


def test_a_target_says_where_to_connect_and_what_to_ask_for() -> None:
    assert check_url(KEVIN, "REST", "https://API.example.com/a?b=c") == Target(
        "https", "api.example.com", 443, "/a?b=c", literal_host=True
    )
    target = check_url(KEVIN, "REST", "http://[::1]/x")
    assert (target.host, target.authority, target.is_address) == ("::1", "[::1]", True)
    assert check_url(KEVIN, "REST", "http://plain.example:8080/items").authority == "plain.example:8080"


def test_a_host_is_literal_if_one_of_the_rules_that_fit_names_it() -> None:
    wild, literal = "https://*.example.com/*", "https://a.example.com/b/*"

    def is_literal(url: str, *rules: str) -> bool:
        return check_url(User("u", connections={"REST": rules}), "REST", url).literal_host

    assert not is_literal("https://a.example.com/b/c", wild)
    assert is_literal("https://a.example.com/b/c", wild, literal)
    assert not is_literal("https://a.example.com/c", wild, literal)
    assert not is_literal("https://c.example.com/b/c", wild, literal)


BROKEN_RULES = {
    "": "not a URL",
    "*": "not a URL",
    "api.example.com/*": "not a URL",
    "*://api.example.com/*": "not a URL",
    "ftp://api.example.com/*": "scheme",
    "https://api.example.com:*/": "port",
    "https://kevin@api.example.com/*": "user information",
    "https://api-*.example.com/*": "one whole part",
    "https://**.example.com/*": "one whole part",
    "https://*..example.com/*": "empty part",
    "https://*.example.com./*": "ends with a dot",
    "https://127.1/*": "number",
    "https://api.example.com/*?a=*": "no query",
    "https://api.example.com/#*": "no fragment",
    "https://api.example.com/a/../*": "segments",
    "https://api.example.com/a%2/*": "%25",
    "https://api.example.com /*": "space",
    "https://api.example.com/a b/*": "%20",
    "https://api.example.com/* https://x.example.com/*": "an item of its own",
}


@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_a_rule_that_cannot_be_read_allows_nothing_and_says_why(rule: str) -> None:
    assert BROKEN_RULES[rule] in rule_fault(rule)
    for url in ("https://api.example.com/", "https://api.example.com/a", "https://x.example.com/a"):
        with pytest.raises(PermissionDenied):
            check_url(User("u", connections={"REST": (rule,)}), "REST", url)


PIECES = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2f",
    "%5c",
    "\\",
    "@",
    ":",
    "?",
    "#",
    "[",
    "]",
    "*",
    "%",
    "%25",
    ";",
    "\t",
    " ",
]
PIECES += [
    "\u3002",
    "\uff0e",
    "\uff0f",
    "\u2100",
    "ß",
    "ä",
    "x",
    "1",
    "0x1",
    "evil.example",
    "https://",
    "public",
    "private",
]


def test_whatever_is_put_into_a_url_what_comes_out_is_read_by_others_as_we_read_it() -> None:
    chosen = random.Random(4)
    allowed = 0
    for _ in range(20_000):
        text = chosen.choice(list(ALLOWED))
        for _ in range(chosen.randint(1, 3)):
            at = chosen.randint(0, len(text))
            text = text[:at] + chosen.choice(PIECES) + text[at + chosen.randint(0, 1) :]
        try:
            target = check_url(KEVIN, "REST", text)
        except (BadUrl, PermissionDenied):
            continue
        allowed += 1
        read = urlsplit(target.url)
        assert (read.scheme, read.hostname, read.username) == (target.scheme, target.host, None)
        assert read.port in (None, target.port)
        assert target.url.isascii()
        assert not set(target.url) & set("\\ \t#")
        assert read.path.startswith("/")
        assert not {".", ".."} & set(unquote(read.path).split("/"))
        if target.host == "files.example":
            assert read.path.startswith("/public/") or read.path.endswith("/readme")
        assert check_url(KEVIN, "REST", target.url) == target
    assert allowed > 1000


@pytest.mark.parametrize("rule", RULES)
def test_good_rules_have_no_fault(rule: str) -> None:
    assert rule_fault(rule) == ""


PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17", "2606:4700::1111",
    "2a00:1450::1", "2001:200::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
]  # fmt: skip
NOT_PUBLIC = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "100.100.100.200": "cloud metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud metadata",
    "169.254.0.1": "link-local",
    "169.254.169.254": "cloud metadata",
    "169.254.170.2": "cloud metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.0.192": "cloud metadata",
    "192.0.2.1": "documentation",
    "192.88.99.1": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmark",
    "198.19.255.255": "benchmark",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "reserved",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "cloud metadata",
    "::ffff:0:10.0.0.1": "private",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "cloud metadata",
    "64:ff9b:1::1": "private",
    "100::1": "reserved",
    "2001:0:808:808:0:0:f5ff:fffe": "private",  # Teredo: the client is 10.0.0.1
    "2001:0:a00:1:0:0:f7f7:f7f7": "private",  # Teredo: the server is
    "2001:10::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:7f00:1::1": "loopback",
    "2002:c0a8:101::1": "private",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "cloud metadata",
    "fd20:ce::254": "cloud metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "private",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address: str) -> None:
    assert is_address_allowed(address, literal_host=False)
    assert is_address_allowed(address, literal_host=True)
    assert kind_of(address) == ""


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_other_addresses_only_if_the_host_stands_literally_in_a_rule(address: str) -> None:
    assert not is_address_allowed(address, literal_host=False)
    assert is_address_allowed(address, literal_host=True)
    assert kind_of(address) == NOT_PUBLIC[address]


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "0x7f.0.0.1", "::g", "1.1.1.1/32", " 1.1.1.1"])
def test_what_is_no_address_may_never_be_connected_to(address: str) -> None:
    assert not is_address_allowed(address, literal_host=False)
    assert not is_address_allowed(address, literal_host=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/" + "../" * 2700,
        "https://api.example.com/" + "%25" * 2700,
        "https://api.example.com/" + "%2e%2e%2f" * 900,
        "https://" + "ä" * 250 + "/",
        "https://" + "a." * 4000 + "/",
        "https://" + "[" * 8000,
        "https://" + ":" * 8000,
        "h" * 8192,
        "https://files.example/" + "/readme" * 1100 + "x",
    ],
    ids=lambda url: url[:40],
)
def test_no_url_takes_long(url: str) -> None:
    started = time.thread_time()  # of this thread alone: what else the machine does is not counted
    with contextlib.suppress(BadUrl, PermissionDenied):
        check_url(KEVIN, "REST", url)
    assert time.thread_time() - started < 0.2
