"""An App of the test's own: a snapshot with one webhook, and in the place of runner and pool what only notes down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from whd.errors import HttpError, InvalidKey
from whd.executions.active import ActiveExecution
from whd.handlers.app import App
from whd.handlers.context import HandlerContext
from whd.handlers.routes import Route
from whd.http.messages import Admission, Body, Head, Response
from whd.model.caller_check import BodyCheck, CallerCheck, HeadProof, Query, RequestHead
from whd.model.execution import Execution
from whd.model.options import Limits, Options
from whd.model.snapshot import Client, Fault, Flow, Snapshot, User, Webhook
from whd.pool.compiler import Code
from whd.store.interface import Stored
from whd.store.memory import MemoryStore
from whd.wire import payload

PATH = "/api/webhook/acme/order"
STATUS_PATH = "/api/execution/acme/e1"
FLOW = Flow("acme", "order", "def handler(system, this): ...\n", "0" * 64, "flows/acme/order.py")
KEVIN = User("kevin", flows=("order",))
LIMITS = Limits(max_body_bytes=65_536)


@dataclass(frozen=True)
class HeaderCheck(CallerCheck):
    """A proof that is no key: a header with the right value. `is_repeatable`: the same head is not asked again."""

    value: bytes = b"open sesame"
    is_repeatable: bool = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        if (b"x-word", self.value) not in head.headers:
            raise InvalidKey("the word is missing or wrong")
        return HeadProof(tuple(pair for pair in head.headers if pair[0] != b"x-word"), True)

    def check_status(self, head: RequestHead, query: Query) -> None:
        self.check_head(head, query)


class SumCheck:
    """A check of one body: the sum of its bytes is the one that the head announced."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.found = 0

    def update(self, part: bytes | bytearray | memoryview) -> None:
        self.found += sum(part)

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        if self.found != self.wanted:
            raise InvalidKey("the body is not the one that was meant")


@dataclass(frozen=True)
class SumOfBody(CallerCheck):
    """A proof over the raw body; `made` are the checks, one for each request."""

    made: list[BodyCheck] = field(default_factory=list)
    is_repeatable: bool = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        return HeadProof(head.headers, True)

    def body_check(self, head: RequestHead, proof: HeadProof) -> SumCheck:
        check = SumCheck(int(dict(head.headers)[b"x-sum"]))
        self.made.append(check)
        return check

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise InvalidKey


class FakeRunner:
    """Runner and Lookup: notes down what was started; `stored` is what there is to be looked up."""

    def __init__(self) -> None:
        self.started: list[ActiveExecution] = []
        self.stored: dict[str, Stored] = {}
        self.cancelled: list[str] = []
        self.accepted: list[Callable[[Exception | None], None]] = []

    def resolve(self, snapshot: Snapshot, client_name: str, flow_name: str, user_name: str) -> tuple[Flow, User]:
        client = snapshot.clients[client_name]
        return client.flows[flow_name], client.users[user_name]

    def prepare(self, execution: Execution, flow: Flow, limits: Limits, isolation: str) -> ActiveExecution:
        execution.id = f"e{len(self.started) + 1}"
        return ActiveExecution(execution, flow, limits, isolation)

    def start(
        self,
        active: ActiveExecution,
        waiter: Callable[[ActiveExecution], None],
        stop_waiting: Callable[[ActiveExecution], None],
    ) -> None:
        active.add_waiter(waiter)
        active.stop_waiting = stop_waiting
        self.started.append(active)

    def start_async(self, active: ActiveExecution, done: Callable[[Exception | None], None]) -> None:
        self.started.append(active)
        self.accepted.append(done)

    make_async = start_async

    async def get(self, execution_id: str) -> Stored | None:
        return self.stored.get(execution_id)

    async def cancel(self, stored: Stored, message: str) -> Stored:
        self.cancelled.append(stored.execution.id)
        return stored


class FakeCompiler:
    """`code` is that of every flow; while it is None, `waiting` are those who want it."""

    def __init__(self) -> None:
        self.code: Code | None = Code(("acme", "0", "order"), FLOW, frame=b"code")
        self.waiting: list[Callable[[Code], None]] = []

    def known(self, flow: Flow) -> Code | None:
        return self.code

    def compile(self, flow: Flow, done: Callable[[Code], None]) -> None:
        self.waiting.append(done)


class FakePayloadParser:
    """Reads when the test says so: `waiting` are the calls that do it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def parse(
        self, body: Body, content_type: str, has_key: bool, done: Callable[[payload.Parsed | HttpError], None],
        *, start: str, gunzip_limit: int = 0, pointers: Sequence[str] = (), unwrap: str = "",
    ) -> None:  # fmt: skip
        def read() -> None:
            whole = b"".join(body) if isinstance(body, list) else body
            try:
                parsed = payload.parse(whole, content_type, has_key, pointers, unwrap)
            except HttpError as error:
                done(error)
                return
            members = b"%b%b}" % (start.encode(), parsed.members_json)
            done(payload.Parsed(members, parsed.keys, is_whole=True, picked=parsed.picked))

        self.waiting.append(read)


@dataclass
class Answers:
    """Who answers a request, as the server is."""

    given: list[Response] = field(default_factory=list)

    def __call__(self, response: Response) -> None:
        self.given.append(response)

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.given]

    @property
    def codes(self) -> list[str]:
        return [json.loads(response.body)["code"] for response in self.given]


def webhook_with(check: CallerCheck, **changes: Any) -> Webhook:
    webhook = Webhook(
        "acme", "order", "order", "kevin", check, True, ("GET", "POST"), True, "user", LIMITS, "order.yaml"
    )
    return replace(webhook, **{"status_check": check, **changes})


def snapshot_with(webhook: Webhook) -> Snapshot:
    client = Client("acme", {"kevin": KEVIN}, {"order": FLOW}, {}, {"order": webhook})
    return Snapshot(Options(), {"acme": client}, ())


class Serving:
    """The App and what stands behind it; `send` does what the server does with a request."""

    def __init__(self, check: CallerCheck, *, handlers: Mapping[Route, object] | None = None, **changes: Any) -> None:
        self.runner = FakeRunner()
        self.compiler = FakeCompiler()
        self.payload_parser = FakePayloadParser()
        self.flow_faults: list[tuple[Flow, Fault]] = []
        self.reloader = SimpleNamespace(
            snapshot=snapshot_with(webhook_with(check, **changes)),
            refused=lambda flow, fault, by_import: self.flow_faults.append((flow, fault)),
        )
        pool = SimpleNamespace(compiler=self.compiler, payload_parser=self.payload_parser)
        self.context = context = HandlerContext(
            cast(Any, self),
            cast(Any, self.reloader),
            cast(Any, self.runner),
            cast(Any, self.runner),
            cast(Any, pool),
            lambda: (200, {}),
            MemoryStore(cast(Any, None)).deliveries,
        )
        self.app = App(context, handlers)

    def create_task(self, coroutine: Any) -> asyncio.Task[Any]:
        """Of the loop; the one that runs."""
        return asyncio.get_running_loop().create_task(coroutine)

    def admit(self, head: Head) -> Admission:
        return self.app.admit(head)

    def send(self, head: Head, body: Body = b"", answers: Answers | None = None) -> Answers:
        """A whole request, its body in parts if it is a list. An HttpError is answered as the server does."""
        answers = Answers() if answers is None else answers
        try:
            admission = self.app.readmit(head) or self.app.admit(head)
            if admission.observe is not None:
                for part in body if isinstance(body, list) else [body]:
                    admission.observe(bytes(part))
            self.app.handle(admission, body, answers)
        except HttpError as error:
            answers(self.app.problem(error))
        return answers

    def ask(self, head: Head) -> Response:
        """A request that is answered by a task."""

        async def answer() -> Response:
            answered = asyncio.Event()
            answers = Answers()

            def respond(response: Response) -> None:
                answers(response)
                answered.set()

            self.app.handle(self.app.admit(head), b"", respond)
            async with asyncio.timeout(10):
                await answered.wait()
            return answers.given[0]

        return asyncio.run(answer())


def post(*headers: tuple[bytes, bytes], path: str = PATH, size: int | None = 2) -> Head:
    """A POST with JSON."""
    return Head("POST", path, ((b"content-type", b"application/json"), *headers), size)


def get(*headers: tuple[bytes, bytes], path: str = STATUS_PATH, method: str = "GET") -> Head:
    return Head(method, path, headers, 0)


def input_of(serving: Serving) -> dict[str, Any]:
    """What the flow that was started last sees."""
    value: dict[str, Any] = json.loads(serving.runner.started[-1].execution.input_json)
    return value
