"""Nobody is served past what the route, and the webhook, ask of callers; whatever the proof is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.handlers.serving import (
    FLOW,
    PATH,
    STATUS_PATH,
    HeaderCheck,
    Serving,
    SumOfBody,
    get,
    input_of,
    post,
    webhook_with,
)
from whd.auth.callers import OPEN, KeyCheck
from whd.errors import InvalidKey, MethodNotAllowed, NotFound
from whd.handlers import routes
from whd.handlers.app import handlers_of
from whd.handlers.call import Call, CallPlan
from whd.handlers.context import json_response
from whd.handlers.guards import GUARDS, PublicGuard, guard_of
from whd.handlers.routes import ROUTES, Access, Route
from whd.http.messages import Admission, Body, Head, Respond, Response
from whd.model.caller_check import HeadProof, Query
from whd.model.execution import Execution
from whd.pool.compiler import Code
from whd.store.interface import Stored
from whd.wire.payload import Parsed

KEY = KeyCheck((b"k3y", b"old"))
KEY_VISIBLE = KeyCheck.visible
WORD = (b"x-word", b"open sesame")


class Recorder:
    """A webhook's handler that notes down what reaches it."""

    def __init__(self) -> None:
        self.calls: list[Call[CallPlan]] = []

    def run(self, call: Call[CallPlan], parsed: Parsed) -> None:
        self.calls.append(call)
        call.respond(json_response(200, {}))


class Greeter:
    def answer_anybody(self) -> Response:
        return json_response(200, {"hello": "world"})


class OfItsOwnMind:
    """A handler that admits callers itself and asks them nothing."""

    def admit(self, head: Head, path: str, query_text: str, parameters: tuple[str, ...]) -> Admission:
        return Admission(1_024, None)

    def handle(self, call: Any, body: Body, respond: Respond) -> None:
        respond(json_response(200, {"secret": "s3cr3t"}))


def stored_execution(webhook_name: str = "order", client_name: str = "acme") -> Stored:
    execution = Execution("e1", client_name, "order", "kevin", "0", b"{}", webhook_name, webhook_name)
    return Stored(execution, None)


class TestRoutes:
    def test_a_route_without_an_access_fails_at_the_start(self) -> None:
        with pytest.raises(TypeError):
            Route("new", ("new",), ("GET",))  # type: ignore[call-arg]
        silent = Route("new", ("new",), ("GET",), None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="new does not say what it asks"):
            Serving(OPEN, handlers={silent: Greeter()})

    @pytest.mark.parametrize("access", [Access.WEBHOOK, Access.EXECUTION, Access.PUBLIC])
    def test_a_route_whose_handler_skips_the_check_cannot_serve(self, access: Access) -> None:
        route = Route("new", ("new", "{client}", "{webhook}"), ("GET",), access)
        with pytest.raises(TypeError, match="OfItsOwnMind is no Serves"):
            Serving(OPEN, handlers={route: OfItsOwnMind()})

    @pytest.mark.parametrize("access", Access)
    @pytest.mark.parametrize("made_for", ROUTES, ids=lambda route: route.name)
    def test_a_handler_serves_only_routes_of_the_access_it_is_made_for(self, made_for: Route, access: Access) -> None:
        serving = Serving(OPEN)
        handler = handlers_of(serving.context)[made_for]
        new = Route("new", ("new", "{client}", "{id}"), ("GET",), access)
        if access is made_for.access:
            guard_of(serving.context, new, handler)
        else:
            with pytest.raises(TypeError, match="as the route new demands"):
                guard_of(serving.context, new, handler)

    def test_a_new_route_of_a_webhook_asks_what_the_webhook_asks(self) -> None:
        route = Route("new", ("new", "{client}", "{webhook}"), ("POST",), Access.WEBHOOK)
        recorder = Recorder()
        serving = Serving(HeaderCheck(), handlers={route: recorder})
        assert serving.send(post(path="/new/acme/order"), b"{}").statuses == [401]
        assert recorder.calls == []
        assert serving.send(post(WORD, path="/new/acme/order"), b"{}").statuses == [200]

    def test_every_access_has_its_guard(self) -> None:
        assert set(GUARDS) == set(Access)

    def test_a_public_route_answers_anybody_with_its_methods_only(self) -> None:
        serving = Serving(KEY)
        assert serving.send(get(path="/healthz")).statuses == [200]
        assert serving.send(get(path="/readyz", method="HEAD")).statuses == [200]
        with pytest.raises(MethodNotAllowed):
            serving.admit(post(path="/healthz"))

    def test_the_app_serves_the_whole_table_and_nothing_else(self) -> None:
        serving = Serving(KEY)
        assert set(serving.app._guards) == {route.name for route in routes.ROUTES}
        assert isinstance(serving.app._guards["healthz"], PublicGuard)
        with pytest.raises(NotFound):
            serving.admit(get(path="/metrics"))


class TestWebhook:
    """KeyCheck's own cases are in tests/auth and tests/contract."""

    @pytest.mark.parametrize(
        "head",
        [post((b"x-webhook-key", b"k3y")), post((b"authorization", b"Bearer old")), post(path=f"{PATH}?key=k3y")],
    )
    def test_a_key_in_the_head_opens_and_the_flow_does_not_see_it(self, head: Head) -> None:
        serving = Serving(KEY)
        assert serving.send(head, b"{}").statuses == []
        assert input_of(serving)["headers"] == {"content-type": "application/json"}
        assert b"k3y" not in serving.runner.started[0].execution.input_json

    def test_a_wrong_key_in_the_head_is_refused_before_the_body(self) -> None:
        with pytest.raises(InvalidKey):
            Serving(KEY).admit(post((b"x-webhook-key", b"no")))

    def test_a_key_may_come_in_the_payload(self) -> None:
        serving = Serving(KEY)
        assert serving.send(post(), b'{"key": "k3y", "a": 1}').statuses == []
        assert input_of(serving)["json"] == {"a": 1}
        for body in (b'{"key": "no"}', b"{}", b'{"key": 5}', b"[]"):
            assert serving.send(post(), body).codes == ["invalid_key"]
        for body in (b'{"key": "k3y", "key": "k3y"}', b'{"key": "no", "key": "k3y"}'):
            assert serving.send(post(), body).codes == ["invalid_key"]
        assert len(serving.runner.started) == 1

    @pytest.mark.parametrize(
        "head",
        [post((b"x-webhook-key", b"k3y")), post((b"authorization", b"Bearer old")), post(path=f"{PATH}?key=k3y")],
    )
    @pytest.mark.parametrize("is_small", [True, False])
    @pytest.mark.parametrize(
        ("body", "given"),
        [
            (b'{"key": "PROJ-7", "a": 1.10}', b'{"key": "PROJ-7", "a": 1.10}'),
            (b'{"a": 1, "key": {"id": 5}}', b'{"a": 1, "key": {"id": 5}}'),
            (b'{"key": "k3y", "a": 1}', b'{"a": 1}'),
            (b'{"\\u006bey": "o\\u006cd"}', b"{}"),
            (b'{"key": "k3y", "key": "PROJ-7", "a": 1}', b'{"a": 1}'),
        ],
    )
    def test_beside_a_key_in_the_head_the_payloads_own_member_stays_unless_it_is_one(
        self, head: Head, body: bytes, given: bytes, *, is_small: bool
    ) -> None:
        serving = Serving(KEY)
        answers = serving.send(head, body if is_small else [body[:9], body[9:]])
        while serving.payload_parser.waiting:
            serving.payload_parser.waiting.pop()()
        assert answers.statuses == []
        assert input_of(serving)["json"] == json.loads(given)
        assert input_of(serving)["headers"] == {"content-type": "application/json"}

    def test_a_form_is_read_the_same_way(self) -> None:
        serving = Serving(KEY)
        form = (b"content-type", b"application/x-www-form-urlencoded")
        for headers, body, given in (
            (((b"x-webhook-key", b"k3y"), form), b"key=PROJ-7&a=1", {"key": "PROJ-7", "a": "1"}),
            (((b"x-webhook-key", b"k3y"), form), b"key=a&key=b", {"key": ["a", "b"]}),
            (((b"x-webhook-key", b"k3y"), form), b"key=old&a=1", {"a": "1"}),
            ((form,), b"key=old&a=1", {"a": "1"}),
        ):
            assert serving.send(Head("POST", PATH, headers, len(body)), body).statuses == []
            assert input_of(serving)["json"] == given
        for body in (b"key=k3y&key=k3y", b"key=no", b"a=1"):
            assert serving.send(Head("POST", PATH, (form,), len(body)), body).codes == ["invalid_key"]

    def test_a_payloads_key_works_beside_anothers_authorization(self) -> None:
        serving = Serving(KEY)
        theirs = (b"authorization", b"Bearer a-proxy's")
        for parts in (False, True):
            body: Any = b'{"key": "k3y", "a": 1}'
            assert serving.send(post(theirs), [body] if parts else body).statuses == []
            if parts:
                serving.payload_parser.waiting.pop()()
            assert input_of(serving)["headers"]["authorization"] == "Bearer a-proxy's"
            assert input_of(serving)["json"] == {"a": 1}
        assert serving.send(post(theirs), b'{"key": "no"}').codes == ["invalid_key"]
        assert serving.send(post(theirs), b"{}").codes == ["invalid_key"]

    def test_the_head_is_searched_for_keys_once_the_caller_has_proved_one(self, monkeypatch: Any) -> None:
        """However the payload is read: how long a search takes would tell others how much of a key fits."""
        searched: list[str] = []

        def visible(check: KeyCheck, head: Head, proof: HeadProof, query: Query) -> Any:
            searched.append(head.target)
            return KEY_VISIBLE(check, head, proof, query)

        monkeypatch.setattr(KeyCheck, "visible", visible)
        serving = Serving(KEY)
        head = post(path=f"{PATH}?a=k3y")
        wrong: list[Body] = [b'{"key": "no"}', [b'{"key": "no"}'], b"{}", [b"{}"], b"{", [b"{"]]
        for body in wrong:
            assert serving.send(head, body).statuses in ([], [400], [401])
            while serving.payload_parser.waiting:
                serving.payload_parser.waiting.pop()()
        assert searched == []
        right: list[Body] = [b'{"key": "k3y", "b": 1}', [b'{"key": "k3y", "b": 1}'], [b'{"b": 1, "key": "k3y"}']]
        for body in right:
            serving.send(head, body)
            while serving.payload_parser.waiting:
                serving.payload_parser.waiting.pop()()
            value = input_of(serving)
            assert (value["json"], value["query"], value["method"]) == ({"b": 1}, {}, "POST")
        assert searched == [head.target]

    def test_a_payload_that_is_parsed_elsewhere_is_checked_too(self) -> None:
        serving = Serving(KEY)
        right = serving.send(post(size=40_000), [b'{"key": "k3y", ', b'"a": 1}'])
        wrong = serving.send(post(size=40_000), [b'{"key": "no", ', b'"a": 1}'])
        broken = serving.send(post(size=40_000), [b'{"key": '])
        for read in serving.payload_parser.waiting:
            read()
        assert right.statuses == []
        assert wrong.codes == ["invalid_key"]
        assert broken.codes == ["bad_payload"]
        assert len(serving.runner.started) == 1

    def test_the_key_is_the_flows_where_none_is_asked_for(self) -> None:
        serving = Serving(OPEN)
        serving.send(post(path=f"{PATH}?key=a"), b'{"key": "b"}')
        value = input_of(serving)
        assert (value["query"], value["json"]) == ({"key": "a"}, {"key": "b"})

    def test_a_check_that_is_no_key_protects_it(self) -> None:
        serving = Serving(HeaderCheck())
        for head in (post(), post((b"x-word", b"abracadabra")), post((b"x-webhook-key", b"open sesame"))):
            assert serving.send(head, b'{"key": "open sesame"}').codes == ["invalid_key"]
        assert serving.send(post(WORD), b'{"key": "mine"}').statuses == []
        assert input_of(serving)["headers"] == {"content-type": "application/json"}
        assert input_of(serving)["json"] == {"key": "mine"}

    def test_one_that_is_off_or_not_there_is_not_found_and_a_method_is_its_own(self) -> None:
        for serving, path in ((Serving(OPEN, enabled=False), PATH), (Serving(OPEN), "/api/webhook/acme/nothing")):
            with pytest.raises(NotFound):
                serving.admit(post(path=path))
        with pytest.raises(MethodNotAllowed) as caught:
            Serving(KEY, methods=("GET",)).admit(post())
        assert caught.value.headers == ((b"allow", b"GET, HEAD"),)
        with pytest.raises(MethodNotAllowed) as caught:
            Serving(KEY, methods=("POST",)).admit(get(path=PATH))
        assert caught.value.headers == ((b"allow", b"POST, HEAD"),)

    @pytest.mark.parametrize("methods", [("GET", "POST"), ("POST",), ("GET",)])
    @pytest.mark.parametrize("query", ["", "?async"])
    def test_head_is_judged_as_get_would_be_and_runs_nothing(self, methods: tuple[str, ...], query: str) -> None:
        right, none = get((b"x-webhook-key", b"k3y"), path=PATH + query, method="HEAD"), get(path=PATH, method="HEAD")
        serving = Serving(KEY, methods=methods)
        answers = serving.send(right)
        assert answers.statuses == [202 if query else 200]
        # Nobody knows what GET would answer: no length is better than a wrong one (RFC 9110, 8.6).
        assert answers.given[0].omits_length
        assert serving.send(none).codes == ["invalid_key"]
        assert Serving(KEY, methods=methods, enabled=False).send(right).codes == ["not_found"]
        assert serving.runner.started == []
        refused = Serving(KEY, methods=methods)
        refused.compiler.code = Code(("acme", "0", "order"), FLOW, refusal="order.py:1: no")
        assert refused.send(right).codes == ["misconfigured"]


class TestBodyCheck:
    BODY = b'{"a": 1}'
    SUM = (b"x-sum", str(sum(BODY)).encode())

    def test_it_sees_the_raw_body_in_parts_and_decides_before_the_payload_is_used(self) -> None:
        serving = Serving(SumOfBody())
        assert serving.send(post(self.SUM), [self.BODY[:3], self.BODY[3:]]).statuses == []
        serving.payload_parser.waiting.pop()()
        assert len(serving.runner.started) == 1
        # A caller who proved nothing does not hear line and column.
        assert serving.send(post(self.SUM), b'{"a": ').codes == ["invalid_key"]
        assert serving.send(post(self.SUM), [b'{"a": ']).codes == ["invalid_key"]
        assert serving.payload_parser.waiting == []
        assert serving.send(post((b"x-sum", b"123")), b"{").codes == ["bad_payload"]

    def test_each_request_with_the_same_head_has_one_of_its_own(self) -> None:
        check = SumOfBody()
        serving = Serving(check)
        head = post(self.SUM)
        for body, statuses in ((self.BODY, []), (b'{"a": 2}', [401]), (self.BODY, [])):
            assert serving.send(head, body).statuses == statuses
        assert len(set(map(id, check.made))) == 3

    def test_a_body_that_nobody_showed_to_it_is_no_proof(self) -> None:
        serving = Serving(SumOfBody())
        with pytest.raises(InvalidKey):
            serving.app.handle(serving.admit(post(self.SUM)), self.BODY, print)
        assert serving.runner.started == []

    @pytest.mark.parametrize("check", [KEY, OPEN])
    def test_where_the_bytes_prove_nothing_nobody_looks_at_them(self, check: KeyCheck) -> None:
        assert Serving(check).admit(post((b"x-webhook-key", b"k3y"))).observe is None


class TestExecution:
    def test_a_check_that_is_no_key_protects_it(self) -> None:
        serving = Serving(HeaderCheck())
        serving.runner.stored["e1"] = stored_execution()
        for method in ("GET", "HEAD", "DELETE"):
            for headers in ((), ((b"x-word", b"abracadabra"),), ((b"x-webhook-key", b"open sesame"),)):
                assert serving.ask(get(*headers, method=method)).status == 401
        assert serving.runner.cancelled == []
        assert serving.ask(get(WORD)).status == 200
        assert serving.ask(get(WORD, method="DELETE")).status == 200
        assert serving.runner.cancelled == ["e1"]

    def test_one_that_proves_by_the_body_alone_opens_no_status(self) -> None:
        serving = Serving(SumOfBody())
        serving.runner.stored["e1"] = stored_execution()
        assert serving.ask(get((b"x-sum", b"0"))).status == 401

    def test_a_key_is_asked_for_in_header_or_query(self) -> None:
        serving = Serving(KEY)
        serving.runner.stored["e1"] = stored_execution()
        assert serving.ask(get((b"x-webhook-key", b"old"))).status == 200
        assert serving.ask(get(path=f"{STATUS_PATH}?key=k3y")).status == 200
        assert serving.ask(get()).status == 401
        assert serving.ask(get((b"x-webhook-key", b"old"), path=f"{STATUS_PATH}?key=no")).status == 401

    def test_it_is_the_check_of_the_present_snapshot(self) -> None:
        serving = Serving(KEY)
        serving.runner.stored["e1"] = stored_execution()
        head = get((b"x-webhook-key", b"old"))
        assert serving.ask(head).status == 200
        serving.reloader.snapshot = Serving(KeyCheck((b"new",))).reloader.snapshot
        assert serving.ask(head).status == 401

    @pytest.mark.parametrize(
        "stored", [None, stored_execution(""), stored_execution(client_name="other"), stored_execution("gone")]
    )
    def test_what_came_through_no_webhook_of_the_client_is_not_there(self, stored: Stored | None) -> None:
        serving = Serving(OPEN)
        if stored is not None:
            serving.runner.stored["e1"] = stored
        assert serving.ask(get()).status == 404

    def test_a_failure_nobody_meant_is_answered_too(self, caplog: pytest.LogCaptureFixture) -> None:
        serving = Serving(OPEN)
        serving.runner.stored["e1"] = None  # type: ignore[assignment]
        serving.runner.get = None  # type: ignore[method-assign, assignment]
        response = serving.ask(get())
        assert (response.status, json.loads(response.body)["detail"]) == (500, "internal error")
        assert "the status of e1" in caplog.text

    def test_a_client_that_goes_away_ends_the_wait_and_gets_no_answer(self) -> None:
        serving = Serving(OPEN)

        async def leave() -> None:
            loop = asyncio.get_running_loop()
            lookups: list[asyncio.Future[Stored | None]] = []
            defects: list[Any] = []
            loop.set_exception_handler(lambda loop, context: defects.append(context))

            async def look_up(execution_id: str) -> Stored | None:
                lookups.append(loop.create_future())
                return await lookups[-1]

            serving.runner.get = look_up  # type: ignore[method-assign]
            answers: list[Response] = []
            cancel = serving.app.handle(serving.admit(get()), b"", answers.append)
            assert cancel is not None
            (task,) = asyncio.all_tasks() - {asyncio.current_task()}
            # Once asked for, a cancellation goes on, whether or not the client hears of it.
            assert serving.app.handle(serving.admit(get(method="DELETE")), b"", answers.append) is None
            await asyncio.sleep(0)
            cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0)  # for those who hear of the task's end
            assert (answers, defects) == ([], [])
            assert [lookup.cancelled() for lookup in lookups] == [True, False]

        asyncio.run(leave())


def test_webhooks_with_equal_checks_are_equal() -> None:
    """As a reload keeps what did not change."""
    assert webhook_with(KeyCheck((b"a",))) == webhook_with(KeyCheck((b"a",)))
    assert webhook_with(KeyCheck((b"a",))) != webhook_with(KeyCheck((b"b",)))
    assert webhook_with(OPEN) != webhook_with(KeyCheck(()))
