"""Each kind of file into its value, and what is said of each thing that is wrong in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import pytest

from tests.settings.webhook_files import parse_webhook
from whd.auth.callers import OPEN, KeyCheck
from whd.model.options import LIMIT_NAMES, SANDBOX_LAYERS, Limits, Options, option_fields
from whd.model.snapshot import Fault, User, Webhook
from whd.sandbox.isolation import REQUIRABLE
from whd.settings.document import load
from whd.settings.parse import parse_flow, parse_options, parse_setting, parse_users
from whd.settings.webhooks import WEBHOOK_FIELDS

OPTIONS = Options()
MINIMAL = "flow_name: signup\nuser_name: kevin\n"
ONE_OF_A_WEBHOOKS = f"expected one of {', '.join(sorted(WEBHOOK_FIELDS))}"


def webhook_of(text: str, options: Options = OPTIONS) -> tuple[Webhook, tuple[Fault, ...]]:
    webhook, faults = parse_webhook(text, "w.yaml", "acme", "hook", options)
    assert webhook is not None, [str(fault) for fault in faults]
    return webhook, faults


def webhook_faults(text: str) -> list[str]:
    webhook, faults = parse_webhook(text, "w.yaml", "acme", "hook", OPTIONS)
    assert webhook is None
    assert any(not fault.is_warning for fault in faults)
    return [str(fault) for fault in faults]


class TestOptions:
    @pytest.mark.parametrize("text", ["", "# all defaults\n", "{}\n", "~\n"])
    def test_everything_has_a_default(self, text: str) -> None:
        assert parse_options(text, "whd.yaml") == (Options(), ())

    def test_every_option_can_be_given(self) -> None:
        text = "".join(f"{option.name}: {_as_yaml(option.default)}\n" for option in option_fields())
        assert parse_options(text, "whd.yaml") == (Options(), ())

    def test_listen_is_one_address_or_a_list(self) -> None:
        one, _ = parse_options("listen: 127.0.0.1:9000\n", "whd.yaml")
        two, _ = parse_options('listen: ["[::1]:80", "unix:/run/whd.sock"]\n', "whd.yaml")
        assert one is not None
        assert two is not None
        assert one.listen == ("127.0.0.1:9000",)
        assert two.listen == ("[::1]:80", "unix:/run/whd.sock")

    def test_a_whole_number_will_do_for_seconds(self) -> None:
        options, _ = parse_options("wait_s: 5\nmax_body_bytes: 26_214_400\n", "whd.yaml")
        assert options is not None
        assert options.wait_s == 5.0
        assert type(options.wait_s) is float

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("worker: 3\n", "whd.yaml:1: worker: unknown field; expected an option that `whd serve --help` lists"
             " - did you mean workers?"),
            ("workers: 3.5\n", "whd.yaml:1: workers: is 3.5; expected a whole number"),
            ("workers: '3'\n", "whd.yaml:1: workers: is the text '3'; expected a whole number, without quotes"),
            ("workers: true\n", "whd.yaml:1: workers: is true; expected a whole number"),
            ("workers: -1\n", "whd.yaml:1: workers: is -1; expected at least 0"),
            ("max_workers: 1\n", "whd.yaml:1: max_workers: is 1; expected at least 2"),
            ("memory_bytes: 1e9\n", "whd.yaml:1: memory_bytes: is the text '1e9'; expected a whole number"
             " written out, as in 1000000000"),
            ("memory_bytes: 99999999999999999999\n",
             "whd.yaml:1: memory_bytes: is 99999999999999999999; expected at most 9007199254740992"),
            ("timeout_s: 1.0e+300\n", "whd.yaml:1: timeout_s: is 1e+300; expected at most 1000000000"),
            ("timeout_s: 0\n", "whd.yaml:1: timeout_s: is 0; expected at least 0.001"),
            ("timeout_s:\n", "whd.yaml:1: timeout_s: is empty; expected a number"),
            ("show_script: 1\n", "whd.yaml:1: show_script: is 1; expected true or false"),
            ("log_level: Info\n", "whd.yaml:1: log_level: is the text 'Info'; expected debug or info or warning"
             " or error - did you mean info?"),
            ("sandbox_require: seccomp\n", "whd.yaml:1: sandbox_require: is text; expected a list, as in ['seccomp']"),
            ("sandbox_require:\n- seccomp\n- landlok\n", "whd.yaml:3: sandbox_require: is the text 'landlok'; expected "
             f"{' or '.join(SANDBOX_LAYERS)} - did you mean landlock?"),
            ("sandbox_require: [1]\n",
             "whd.yaml:1: sandbox_require: is a whole number; expected text; quote it: \"1\""),
            ("listen: []\n",
             "whd.yaml:1: listen: is an empty list; expected at least one HOST:PORT or unix:/path"),
            ("listen: 8080\n", "whd.yaml:1: listen: is a whole number; expected text; quote it: \"8080\""),
            ("listen: ':80'\n",
             "whd.yaml:1: listen: ':80' has no host; expected HOST:PORT, [IPV6]:PORT or unix:/path"),
            ("listen: ['::1:80']\n", "whd.yaml:1: listen: '::1:80' has an IPv6 address without brackets;"
             " expected HOST:PORT, [IPV6]:PORT or unix:/path"),
            ("listen: localhost:99999\n", "whd.yaml:1: listen: 'localhost:99999' has no port from 0 to 65535;"
             " expected HOST:PORT, [IPV6]:PORT or unix:/path"),
            ("listen: unix:run\n", "whd.yaml:1: listen: 'unix:run' has no path that starts with /;"
             " expected HOST:PORT, [IPV6]:PORT or unix:/path"),
            ("- a\n", "whd.yaml:1: is a list; expected a mapping of options"),
        ],
    )  # fmt: skip
    def test_each_fault_names_line_field_and_what_was_expected(self, text: str, fault: str) -> None:
        options, faults = parse_options(text, "whd.yaml")
        assert options is None
        assert [str(fault) for fault in faults] == [fault]

    def test_sandbox_require_knows_the_layers_of_the_wall(self) -> None:
        options, faults = parse_options(f"sandbox_require: {json.dumps(REQUIRABLE)}\n", "whd.yaml")
        assert faults == ()
        assert options is not None
        assert options.sandbox_require == REQUIRABLE
        assert Options.__dataclass_fields__["sandbox_require"].metadata["choices"] == REQUIRABLE

    def test_all_faults_of_a_file_come_at_once_and_in_its_order(self) -> None:
        _, faults = parse_options("workers: x\nwrkers: 1\ntimeout_s: y\n", "whd.yaml")
        assert [fault.line for fault in faults] == [1, 2, 3]


class TestWebhook:
    def test_defaults(self) -> None:
        webhook, faults = webhook_of(MINIMAL)
        assert faults == ()
        assert webhook == Webhook(
            client_name="acme",
            name="hook",
            flow_name="signup",
            user_name="kevin",
            caller_check=OPEN,
            enabled=True,
            methods=("GET", "POST"),
            show_script=True,
            isolation="user",
            limits=Limits(),
            path="w.yaml",
            status_check=OPEN,
        )

    def test_a_key_is_a_text_or_a_list_of_them(self) -> None:
        assert webhook_of(MINIMAL + "key: schlüssel\n")[0].caller_check == KeyCheck(("schlüssel".encode(),))
        assert webhook_of(MINIMAL + "key: [new, old]\n")[0].caller_check == KeyCheck((b"new", b"old"))

    @pytest.mark.parametrize(
        "key", ["", "''", "[]", "[a, '']", "~", "1234", "yes", "2026-11-23", "{a: b}", "[[a]]", "[a, 5]"]
    )
    def test_what_is_no_key_never_makes_a_webhook_without_one(self, key: str) -> None:
        faults = webhook_faults(f"{MINIMAL}key: {key}\n")
        assert len(faults) == 1
        assert faults[0].startswith("w.yaml:3: key: is ")

    @pytest.mark.parametrize("key", ["123456", "1.23456", "true-secret: x", "[123456]", "{s3cret: 1}", "2026-01-02"])
    def test_no_fault_repeats_a_key(self, key: str) -> None:
        for fault in webhook_faults(f"{MINIMAL}key: {key}\n"):
            assert not any(part in fault for part in ("123456", "s3cret", "secret", "2026", "1.2"))

    def test_an_unknown_field_is_named_if_it_is_written_as_fields_are(self) -> None:
        for name in ("colour", "retry_after_s", "listen"):
            assert webhook_faults(f"{MINIMAL}{name}: 3\n")[0].startswith(f"w.yaml:3: {name}: unknown field; expected")
        for name in ("my-secret-api-key", "s3cret", "Qwertz", "abcdefghijklmnopqrstuvwxyz"):
            assert webhook_faults(f"{MINIMAL}{name}: 3\n")[0].startswith("w.yaml:3: unknown field; expected")

    def test_a_key_without_a_space_behind_its_colon_is_not_repeated(self) -> None:
        for text in ("{flow_name: a, user_name: b, key:s3cret}", MINIMAL + "key:s3cret\n", MINIMAL + "? key:s3cret\n"):
            assert "s3cret" not in str(webhook_faults(text))

    def test_what_yaml_reads_as_something_else_wants_quotes(self) -> None:
        faults = webhook_faults("flow_name: 1234\nuser_name: on\n")
        assert faults == [
            'w.yaml:1: flow_name: is a whole number; expected text; quote it: "1234"',
            'w.yaml:2: user_name: is true or false; expected text; quote it: "on"',
        ]

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("flwo_name: x", f"flwo_name: unknown field; {ONE_OF_A_WEBHOOKS} - did you mean flow_name?"),
            ("Key: x", f"Key: unknown field; {ONE_OF_A_WEBHOOKS} - did you mean key?"),
            ("workers: 3", f"workers: unknown field; {ONE_OF_A_WEBHOOKS}"),
            ("enabled: 'no'", "enabled: is the text 'no'; expected true or false, without quotes"),
            ("methods: POST", "methods: is text; expected a list, as in ['POST']"),
            ("methods: []", "methods: is an empty list; expected some of GET, POST, PUT, PATCH, DELETE;"
             " enabled: false switches a webhook off"),
            ("methods: [post]", "methods: there is no method 'post';"
             " expected GET, POST, PUT, PATCH, DELETE - did you mean POST?"),
            ("methods: [HEAD]", "methods: there is no method 'HEAD'; expected GET, POST, PUT, PATCH, DELETE"),
            ("isolation: none", "isolation: is the text 'none'; expected user or execution"),
            ("memory_bytes: 5", "memory_bytes: is 5; expected at least 1048576"),
            ("wait_s: no", "wait_s: is no; expected a number"),
        ],
    )  # fmt: skip
    def test_each_fault_names_line_field_and_what_was_expected(self, line: str, fault: str) -> None:
        assert webhook_faults(f"{MINIMAL}{line}\n") == [f"w.yaml:3: {fault}"]

    @pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "~"])
    def test_an_empty_file_misses_its_fields(self, text: str) -> None:
        assert webhook_faults(text) == [
            "w.yaml:1: flow_name: is missing; expected flow_name: NAME",
            "w.yaml:1: user_name: is missing; expected user_name: NAME",
        ]

    def test_methods_and_enabled(self) -> None:
        webhook, _ = webhook_of(MINIMAL + "methods: [POST, POST]\nenabled: false\n")
        assert webhook.methods == ("POST",)
        assert webhook.enabled is False
        assert webhook_of(MINIMAL + "methods: [POST, GET]\n")[0].methods == ("GET", "POST")
        assert webhook_of(MINIMAL + "methods: [DELETE, PUT, PATCH]\n")[0].methods == ("PUT", "PATCH", "DELETE")

    @pytest.mark.parametrize("name", LIMIT_NAMES)
    def test_a_limit_tightens(self, name: str) -> None:
        bound = getattr(OPTIONS, name)
        webhook, faults = webhook_of(f"{MINIMAL}{name}: {bound / 2 if isinstance(bound, float) else bound // 2}\n")
        assert faults == ()
        assert getattr(webhook.limits, name) == bound / 2
        assert {f.name for f in fields(Limits) if getattr(webhook.limits, f.name) != getattr(OPTIONS, f.name)} == {name}

    @pytest.mark.parametrize("name", LIMIT_NAMES)
    def test_a_looser_limit_is_cut_and_said(self, name: str) -> None:
        bound = getattr(OPTIONS, name)
        webhook, faults = webhook_of(f"{MINIMAL}{name}: {int(bound) + 1}\n")
        assert webhook.limits == Limits()
        assert [(fault.line, fault.field, fault.is_warning) for fault in faults] == [(3, name, True)]
        assert "looser than the daemon's" in str(faults[0])

    def test_isolation_and_show_script_only_tighten(self) -> None:
        strict = replace(OPTIONS, isolation="execution", show_script=False)
        looser = MINIMAL + "isolation: user\nshow_script: true\n"
        webhook, faults = webhook_of(looser, strict)
        assert (webhook.isolation, webhook.show_script) == ("execution", False)
        assert [fault.field for fault in faults] == ["isolation", "show_script"]
        webhook, faults = webhook_of(MINIMAL + "isolation: execution\nshow_script: false\n")
        assert (webhook.isolation, webhook.show_script, faults) == ("execution", False, ())
        assert webhook_of(looser)[1] == ()

    def test_equal_values_are_shared(self) -> None:
        """Ten thousand webhooks: limits, methods and names exist once."""
        one, other = (webhook_of(MINIMAL + "timeout_s: 5\nmethods: [POST]\n")[0] for _ in range(2))
        assert one.limits is other.limits
        assert one.methods is other.methods
        assert one.flow_name is other.flow_name


class TestUsers:
    def test_all_fields(self) -> None:
        source, faults = parse_users(
            """
kevin:
  flows: [signup, "mail-*"]
  settings: {read: ["app.*"], write: ["todo-store"]}
  files: {read: ["*"], write: ["reports/*"]}
  connections: {REST: ["https://api.example.com/*"]}
  act_as: [robot]
  isolation: execution
robot:
""",
            "users.yaml",
        )
        assert faults == ()
        assert source is not None
        assert source.users == {
            "kevin": User(
                name="kevin",
                flows=("signup", "mail-*"),
                settings_read=("app.*",),
                settings_write=("todo-store",),
                files_read=("*",),
                files_write=("reports/*",),
                connections={"REST": ("https://api.example.com/*",)},
                act_as=("robot",),
                isolation="execution",
            ),
            "robot": User("robot"),
        }

    @pytest.mark.parametrize("text", ["", "# nobody yet\n", "{}"])
    def test_an_empty_file_has_no_users(self, text: str) -> None:
        source, faults = parse_users(text, "users.yaml")
        assert source is not None
        assert (source.users, faults) == ({}, ())

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("kevin: [signup]\n", "kevin: is a list; expected a mapping of"),
            ("kevin:\n  flow: [a]\n", "kevin.flow: unknown field; expected one of"),
            ("kevin:\n  flow: [a]\n", "did you mean flows?"),
            ("kevin:\n  flows: a\n", "kevin.flows: is text; expected a list, as in ['a']"),
            ("kevin:\n  flows: [*]\n", 'as in "*"'),
            ("kevin:\n  flows: [1]\n", 'kevin.flows: is a whole number; expected text; quote it: "1"'),
            ("kevin:\n  flows: ['']\n", "kevin.flows: is empty"),
            ("kevin:\n  settings: [a]\n", "kevin.settings: is a list; expected a mapping of read and write"),
            ("kevin:\n  files: {wirte: [a]}\n", "kevin.files.wirte: unknown field; expected one of read, write"),
            ("kevin:\n  files: {wirte: [a]}\n", "did you mean write?"),
            ("kevin:\n  isolation: user:\n", "not YAML"),
            ("kevin:\n  isolation: users\n", "expected user or execution - did you mean user?"),
            ("'': {}\n", "a user's name is empty"),
            ('"a\\nb": {}\n', "not printable"),
            ("kevin: {}\nkevin: {}\n", "stands here again"),
            ("- kevin\n", "is a list; expected a mapping of users"),
            ("kevin:\n  connections: {'\ufeffREST': 1}\n", "kevin.connections.\\ufeffREST: is a whole number"),
        ],
    )
    def test_faults(self, text: str, fault: str) -> None:
        source, faults = parse_users(text, "users.yaml")
        assert source is None
        assert fault in str(faults[0])
        assert faults[0].line > 0

    def test_a_stand_in_or_connector_that_does_not_exist_is_worth_a_warning(self) -> None:
        source, faults = parse_users("kevin: {act_as: [robto, 'r*'], connections: {Rest: []}}\nrobot:\n", "users.yaml")
        assert source is not None
        assert [(fault.field, fault.suggestion, fault.is_warning) for fault in faults] == [
            ("kevin.connections", "REST", True),
            ("kevin.act_as", "robot", True),
        ]


class TestSetting:
    def test_the_value_is_the_file(self) -> None:
        setting, faults = parse_setting("a: [1, 2.5, text, ~]\n", "s.yaml", "app.x")
        assert setting is not None
        assert (setting.name, setting.value, setting.path, faults) == (
            "app.x",
            {"a": [1, 2.5, "text", None]},
            "s.yaml",
            (),
        )

    def test_a_broken_one_has_no_value(self) -> None:
        setting, faults = parse_setting("a: [\n", "s.yaml", "app.x")
        assert setting is None
        assert faults == load("a: [\n", "s.yaml")[1]


class TestFlow:
    @pytest.mark.parametrize(
        ("data", "source"),
        [
            ("x = 'ä'\n".encode(), "x = 'ä'\n"),
            (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
            (b"# -*- coding: latin-1 -*-\nx = '\xe4'\n", "# -*- coding: latin-1 -*-\nx = 'ä'\n"),
            (b"", ""),
        ],
    )
    def test_a_source_is_decoded_as_python_does(self, data: bytes, source: str) -> None:
        flow, faults = parse_flow(data, "f.py", "acme", "my flow")
        assert flow is not None
        assert (flow.source, flow.name, flow.client_name, faults) == (source, "my flow", "acme", ())
        assert flow.script_hash == hashlib.sha256(source.encode()).hexdigest()

    @pytest.mark.parametrize(
        ("data", "line"),
        [
            (b"x = '\xe4'\n", 1),
            (b"a\nb\nc\nx = '\xe4'\n", 4),
            (b"# coding: nonsense\n", 1),
            (b"# coding: hex\n\n", 1),
            (b"\xef\xbb\xbf# coding: latin-1\n", 1),
            (b"# coding: unicode_escape\n'\\ud800'\n", 1),
        ],
    )
    def test_what_cannot_be_decoded_is_a_fault(self, data: bytes, line: int) -> None:
        flow, faults = parse_flow(data, "f.py", "acme", "x")
        assert flow is None
        assert faults[0].line == line
        assert "PEP 263" in str(faults[0])


def _as_yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f"'{item}'" for item in value) + "]"
    return str(value)
