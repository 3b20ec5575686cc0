"""SENDERS 8, Response headers: what may be sent, by whom, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from whd.handlers import routes
from whd.wire.response_headers import REFUSALS, SINGLE, HeaderRefused, Setter, read_fields, webhook_paths

PATHS = webhook_paths("acme", "order")
PATH = "/api/webhook/acme/order"

FOR_NOBODY = (
    "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Date",
    "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "HTTP2-Settings", "X-Accel-Redirect",
    "x-accel-buffering", "X-ACCEL-EXPIRES", "X_Accel_Redirect", "X-Sendfile", "X-SendFile2", "X-Sendfile-Temporary",
    "x-lighttpd-send-file", "X-LIGHTTPD-send-tempfile", "X-Reproxy-URL", "X-REPROXY-FILE", "X-LiteSpeed-Location",
    "X-Envoy-Immediate-Health-Check-Fail", "Whd-Execution-Id", "whd-anything", "Idempotent-Replayed", "X-Request-Id",
    "traceparent",
)  # fmt: skip
FOR_OPERATORS = (
    "Strict-Transport-Security", "alt-svc", "Clear-Site-Data", "Service-Worker-Allowed", "NEL", "Report-To",
    "reporting-endpoints", "Strict_Transport_Security",
)  # fmt: skip
FOR_ALL = (
    "X-Pot", "Content-Type", "Location", "Link", "Access-Control-Allow-Origin", "Access-Control-Allow-Headers",
    "Content-Security-Policy", "WWW-Authenticate", "X-Accel", "X-Send", "X-Requested-With", "Trace", "Whd", "Nelly",
    "Content-Encoding", "Cache-Control", "Retry-After", "X-Frame-Options",
)  # fmt: skip


def fields(*headers: tuple[str, Any], setter: Setter = Setter.FLOW, paths: tuple[str, ...] = PATHS) -> Any:
    return read_fields(headers, setter, paths)


@pytest.mark.parametrize("setter", Setter)
@pytest.mark.parametrize("name", FOR_NOBODY)
def test_some_are_refused_to_everybody_with_name_and_way_out(name: str, setter: Setter) -> None:
    with pytest.raises(HeaderRefused, match=f"^the header '{name}' is .*(; leave it out|take another name)"):
        fields((name, "x"), setter=setter)


@pytest.mark.parametrize("name", FOR_OPERATORS)
def test_what_holds_for_the_whole_site_is_the_operators(name: str) -> None:
    with pytest.raises(HeaderRefused, match=f"^the header '{name}' holds for the whole site .*the operator sets it"):
        fields((name, "x"))
    assert fields((name, "x"), setter=Setter.OPERATOR) == ((name.lower(), "x"),)


@pytest.mark.parametrize("setter", Setter)
@pytest.mark.parametrize("name", FOR_ALL)
def test_all_others_are_sent(name: str, setter: Setter) -> None:
    assert fields((name, "x"), setter=setter) == ((name.lower(), "x"),)


def test_the_list_has_no_name_twice_and_each_in_lower_case() -> None:
    names = [name for refusal in REFUSALS for name in refusal.names]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in (*names, *SINGLE))
    assert SINGLE.isdisjoint(names)


class TestNamesAndValues:
    @pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "a\0", "ä", "a\n", "a" * 201, "(a)", "a,b"])
    def test_a_name_is_a_token(self, name: str) -> None:
        with pytest.raises(HeaderRefused, match="cannot be a header's name"):
            fields((name, "x"))

    @pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "\n", "\0", "\x7f", "\x1f", "€", "\ud800", "\x85"])
    def test_a_value_is_one_line_of_what_http_allows(self, value: str) -> None:
        for given in (value, ["fine", value]):
            with pytest.raises(HeaderRefused, match="'X-A' has a line break or another character"):
                fields(("X-A", given))

    def test_both_are_bounded(self) -> None:
        assert len(fields(("a" * 200, "b" * 8_192))) == 1
        assert len(fields(("a", ["b"] * 100))) == 100
        for headers in ([("a", "b" * 8_193)], [("a", ["b"] * 101)], [(f"a{n}", "b") for n in range(101)]):
            with pytest.raises(HeaderRefused):
                fields(*headers)


class TestRepeated:
    def test_a_list_gives_a_field_for_each_text_in_order(self) -> None:
        assert fields(("Vary", ["a", "b"]), ("X-A", ["c"]), ("X-B", [])) == (("vary", "a"), ("vary", "b"), ("x-a", "c"))

    @pytest.mark.parametrize("name", sorted(SINGLE))
    def test_what_there_is_one_of_takes_no_list_of_several(self, name: str) -> None:
        assert fields((name, ["a"])) == ((name, "a"),)
        with pytest.raises(HeaderRefused, match="is sent once at most; give it one text, not a list"):
            fields((name, ["a", "b"]))

    def test_a_name_in_another_case_is_the_same_field_and_the_later_one_wins(self) -> None:
        assert fields(("Content-Type", "a"), ("X-A", "1"), ("content-type", "b"), ("x-a", ["2", "3"])) == (
            ("content-type", "b"),
            ("x-a", "2"),
            ("x-a", "3"),
        )

    def test_cookies_add_up(self) -> None:
        one, two, three = (f"{name}=1; Path={PATH}" for name in "abc")
        assert fields(("Set-Cookie", [one, two]), ("set-cookie", three)) == (
            ("set-cookie", one),
            ("set-cookie", two),
            ("set-cookie", three),
        )


class TestCookies:
    @pytest.mark.parametrize(
        "attributes",
        [f"Path={path}" for path in PATHS]
        + [
            f"Path={PATH}/",
            f"pAtH = {PATH}/more/and",
            f"Secure; HttpOnly;\tpath={PATH} ; SameSite=Lax",
            f" Path={PATH}",
        ],
    )
    def test_the_webhooks_own_path_or_one_below_it_is_theirs(self, attributes: str) -> None:
        cookie = f"a=b;{attributes}"
        assert fields(("Set-Cookie", cookie)) == (("set-cookie", cookie),)

    @pytest.mark.parametrize(
        "attributes",
        ["", "Secure", "Path", "Path=", "Path=/", "Path=/api/webhook/acme", f"Path={PATH}s", "Path=/api/webhook/acme/",
         "Path=/api/webhook/acme/other", f'Path="{PATH}"', f"Path={PATH}; Path=/", f"Path=/; Path={PATH}",
         f"Path=/x{PATH}", "Path=api/webhook/acme/order", f"XPath={PATH}", "Path=/api/2/webhook/acme/order",
         "Path=/api/webhook/acme/%6Frder",
         f"Path=\u00a0{PATH}", f"\u00a0Path={PATH}", f"Path={PATH}/{'a' * 1_024}", "Path=/API/webhook/acme/order"],
    )  # fmt: skip
    def test_another_path_or_none_is_refused(self, attributes: str) -> None:
        with pytest.raises(HeaderRefused, match=f"'Set-Cookie' needs the webhook's own path.*add '; Path={PATH}'$"):
            fields(("Set-Cookie", f"a=b; {attributes}"))

    @pytest.mark.parametrize(
        "domain", ["Domain=a.example", "domain", "DOMAIN =", "\tdOmAiN\t= .a", "\u00a0Domain=a", "Domain=;"]
    )
    @pytest.mark.parametrize("paths", [PATHS, ()])
    def test_a_domain_is_refused_however_it_is_written(self, domain: str, paths: tuple[str, ...]) -> None:
        for cookie in (f"a=b; {domain}; Path={PATH}", f"a=b; Path={PATH};{domain}", f";{domain};Path={PATH}"):
            with pytest.raises(HeaderRefused, match=r"'set-cookie' has a Domain.*leave Domain out"):
                fields(("set-cookie", ["c=d; Path=" + PATH, cookie]), paths=paths)

    def test_a_value_that_reads_like_an_attribute_is_none(self) -> None:
        assert fields(("Set-Cookie", f"Domain=x; Path={PATH}"))

    def test_where_no_webhook_is_answered_any_path_will_do(self) -> None:
        assert webhook_paths("acme", "") == ()
        assert fields(("Set-Cookie", "a=b; Path=/"), paths=())

    def test_an_operator_may_set_any(self) -> None:
        assert fields(("Set-Cookie", "a=b; Domain=a.example; Path=/"), setter=Setter.OPERATOR)

    @pytest.mark.parametrize("path", PATHS)
    def test_the_webhooks_paths_are_those_that_it_is_called_by(self, path: str) -> None:
        assert routes.match(path) == (routes.WEBHOOK, ("acme", "order"))
