"""The route table."""

from __future__ import annotations

import pytest

from whd.errors import MethodNotAllowed, NotFound
from whd.handlers import routes


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        ("/api/webhook/acme/signup", routes.WEBHOOK, ("acme", "signup")),
        ("/api/1/webhook/acme/signup", routes.WEBHOOK, ("acme", "signup")),
        ("/api/latest/webhook/acme/signup", routes.WEBHOOK, ("acme", "signup")),
        ("/api/webhook/%61cme/sign%75p", routes.WEBHOOK, ("acme", "signup")),
        ("/api/webhook/acme/a%2Fb", routes.WEBHOOK, ("acme", "a/b")),
        ("/api/execution/acme/0198", routes.EXECUTION, ("acme", "0198")),
        ("/healthz", routes.HEALTHZ, ()),
        ("/readyz", routes.READYZ, ()),
    ],
)
def test_known_paths(path: str, route: routes.Route, parameters: tuple[str, ...]) -> None:
    assert routes.match(path) == (route, parameters)


@pytest.mark.parametrize(
    "path",
    ["/", "", "/api", "/api/webhook/acme", "/api/webhook/acme/signup/", "/api/2/webhook/acme/signup",
     "/api/1/1/webhook/a/b", "/API/webhook/acme/signup", "//healthz", "/healthz/", "api/webhook/a/b", "/api/webhook"],
)  # fmt: skip
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        routes.match(path)


def test_head_goes_where_get_goes() -> None:
    routes.check_method("HEAD", ("GET", "POST"))
    with pytest.raises(MethodNotAllowed) as caught:
        routes.check_method("HEAD", ("POST",))
    assert caught.value.headers == ((b"allow", b"POST"),)


@pytest.mark.parametrize(("allowed", "names"), [(("POST",), b"POST, HEAD"), (("GET",), b"GET, HEAD")])
def test_where_head_runs_nothing_it_is_always_allowed_and_named(allowed: tuple[str, ...], names: bytes) -> None:
    routes.check_method("HEAD", allowed, head_runs_nothing=True)
    with pytest.raises(MethodNotAllowed) as caught:
        routes.check_method("PUT", allowed, head_runs_nothing=True)
    assert caught.value.headers == ((b"allow", names),)


def test_allow_names_all_methods() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        routes.check_method("PUT", ("GET", "POST"))
    assert caught.value.headers == ((b"allow", b"GET, POST, HEAD"),)


def test_every_route_states_its_access() -> None:
    assert {route.access for route in routes.ROUTES} == set(routes.Access)
