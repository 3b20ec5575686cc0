"""SENDERS 3, against a running daemon: every sender's delivery, as it is, changed, stale; and what is left behind."""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.contract.test_webhooks import INPUT_FLOW, live
from tests.running import Answer, Project, RunningDaemon, running, simple_project
from whd.senders.presets import PRESETS
from whd.senders.samples import FORM_TYPE, SAMPLES, Sample, render
from whd.senders.scheme import PLAIN, Preset, Scheme
from whd.senders.signer import Unsigned, proved

TEXT_SECRET = "a-Secret-of-ours+with/signs="
BASE64_SECRET = "whsec_" + base64.b64encode(b"an0ther-secret-of-32-bytes-long!").decode()
PUBLIC = "https://hooks.example.com"


@dataclass(frozen=True)
class Subject:
    """A row of the table, with one of its ways to sign and one event."""

    preset: Preset
    scheme: Scheme
    sample: Sample

    @property
    def webhook(self) -> str:
        return f"{self.preset.name}-{self.preset.schemes.index(self.scheme)}"

    @property
    def secret(self) -> str:
        return BASE64_SECRET if self.scheme.secret.is_base64 else TEXT_SECRET

    @property
    def path(self) -> str:
        return f"/api/webhook/acme/{self.webhook}"


SUBJECTS = [
    Subject(preset, scheme, sample)
    for preset in PRESETS.values()
    for scheme in preset.schemes
    for sample in SAMPLES[preset.name]
    if not scheme.signature[0].startswith("form:")
]
IDS = [f"{subject.webhook}-{subject.sample.event}" for subject in SUBJECTS]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = simple_project(tmp_path_factory.mktemp("senders"))
    for subject in SUBJECTS:
        verify = {"scheme": subject.preset.name, "secret": subject.secret}
        if subject.preset.needs_url:
            verify["url"] = PUBLIC + subject.path
        project.endpoint(subject.webhook, INPUT_FLOW, verify=verify, show_script=False)
        if subject.preset.dedup:
            project.endpoint(f"{subject.webhook}-once", INPUT_FLOW, verify=verify, dedup=True)
    return project


@pytest.fixture(scope="module")
def daemon(project: Project) -> Iterator[RunningDaemon]:
    with running(project) as daemon:
        yield daemon


@dataclass(frozen=True)
class Delivery:
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def send(self, daemon: RunningDaemon, subject: Subject) -> Answer:
        return daemon.post(subject.path, self.body, headers=dict(self.headers))

    def changed(self, name: str, text: str | None) -> Delivery:
        rest = tuple(item for item in self.headers if item[0].lower() != name.lower())
        return replace(self, headers=rest if text is None else (*rest, (name, text)))


def delivery_of(subject: Subject, at_s: float | None = None, secret: str = "") -> Delivery:
    at_s = time.time() if at_s is None else at_s
    unique = str(uuid.uuid4())
    rendered = render(subject.sample, at_s, unique)
    key = subject.scheme.secret.key_of((secret or subject.secret).encode())
    assert key is not None
    unsigned = Unsigned("POST", PUBLIC + subject.path, rendered.headers, rendered.body, at_s, f"msg_{unique}")
    return Delivery(*proved(subject.scheme, key, unsigned))


FORMS = [each for each in SUBJECTS if each.sample.content_type == FORM_TYPE and "payload" in each.sample.body]


@pytest.mark.parametrize("subject", FORMS, ids=lambda subject: subject.webhook)
def test_the_payload_in_a_form_is_the_json(daemon: RunningDaemon, subject: Subject) -> None:
    """SENDERS 5: the flow need not know which type the sender was told to use."""
    value = delivery_of(subject).send(daemon, subject).json["input_value"]
    assert value["json"] == subject.sample.body["payload"]
    assert value["form"] == {}


def has_an_id(subject: Subject) -> bool:
    """Whether this event carries the id that the sender's row names: Slack's commands have none."""
    delivery = delivery_of(subject)
    names = {name.lower() for name, _value in delivery.headers}
    return any(
        locator.partition(":")[2].lower() in names
        if locator.startswith("header:")
        else f'"{locator.rpartition("/")[2]}"'.encode() in delivery.body
        for locator in subject.preset.dedup
    )


@pytest.mark.parametrize(
    "subject", [each for each in SUBJECTS if has_an_id(each)], ids=lambda each: f"{each.webhook}-{each.sample.event}"
)
def test_a_repeat_runs_nothing_and_gets_the_same_answer(daemon: RunningDaemon, subject: Subject) -> None:
    delivery = delivery_of(subject)
    path = f"{subject.path}-once"
    first, second = (daemon.post(path, delivery.body, headers=dict(delivery.headers)) for _ in range(2))
    assert (first.status, second.status) == (200, 200), (first.body, second.body)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.json["id"] == first.json["id"]
    another = delivery_of(subject)
    assert daemon.post(path, another.body, headers=dict(another.headers)).json["id"] != first.json["id"]


def refused(answer: Answer) -> str:
    assert answer.status == 401, answer.body
    assert answer.json["code"] == "invalid_signature"
    return str(answer.json["detail"])


@pytest.mark.parametrize("subject", SUBJECTS, ids=IDS)
def test_a_delivery_is_accepted_as_it_is(daemon: RunningDaemon, subject: Subject) -> None:
    delivery = delivery_of(subject)
    answer = delivery.send(daemon, subject)
    assert answer.status == 200, answer.body
    seen = answer.json["input_value"]["headers"]
    hidden = {locator.removeprefix("header:").lower() for locator in subject.scheme.signature}
    assert hidden.isdisjoint(seen)
    for name, text in subject.sample.headers:
        assert name.lower() in seen or "{" in text


@pytest.mark.parametrize("subject", SUBJECTS, ids=IDS)
def test_a_delivery_with_one_thing_changed_is_refused(daemon: RunningDaemon, subject: Subject) -> None:
    delivery = delivery_of(subject)
    other = "whsec_" + base64.b64encode(b"x" * 32).decode() if subject.scheme.secret.is_base64 else "another-Secret-0"
    assert refused(delivery_of(subject, secret=other).send(daemon, subject)) == "no secret matches"
    signed_body = subject.scheme.algorithm != PLAIN
    if subject.scheme.signature[0].startswith("header:"):
        name = subject.scheme.signature[0].removeprefix("header:")
        text = dict(delivery.headers)[name]
        assert "missing" in refused(delivery.changed(name, None).send(daemon, subject))
        changed = text[:-6] + ("A" if text[-6] not in "Aa" else "B") + text[-5:]
        assert refused(delivery.changed(name, changed).send(daemon, subject))
    if signed_body:
        at = delivery.body.index(b"a") if b"a" in delivery.body else 5
        body = delivery.body[:at] + b"b" + delivery.body[at + 1 :]
        # Mailgun signs no more than two members of the body.
        expected = 200 if subject.preset.name == "mailgun" else 401
        assert replace(delivery, body=body).send(daemon, subject).status == expected
    if subject.scheme.timestamp:
        old = delivery_of(subject, time.time() - subject.scheme.tolerance_s - 100)
        assert "s old, tolerance_s is" in refused(old.send(daemon, subject))


def signs_the_raw_body(subject: Subject) -> bool:
    scheme = subject.scheme
    return scheme.algorithm != PLAIN and scheme.texts is None and scheme.signature[0].startswith("header:")


@pytest.mark.parametrize(
    "subject", [each for each in SUBJECTS if signs_the_raw_body(each)], ids=lambda subject: subject.webhook
)
def test_a_malformed_body_is_401_or_400_by_its_signature(daemon: RunningDaemon, subject: Subject) -> None:
    """Nobody unverified hears of line and column."""
    scheme = subject.scheme
    broken = replace(delivery_of(subject), body=b'{"a": 1,}')
    assert refused(broken.send(daemon, subject))
    key = scheme.secret.key_of(subject.secret.encode())
    assert key is not None
    headers = tuple(item for item in render(subject.sample, time.time(), "1").headers if item[0] != "Content-Type")
    headers = (("Content-Type", "application/json"), *headers)
    unsigned = Unsigned("POST", PUBLIC + subject.path, headers, b'{"a": 1,}', time.time(), "msg_1")
    answer = Delivery(*proved(scheme, key, unsigned)).send(daemon, subject)
    assert (answer.status, answer.json["code"]) == (400, "bad_payload")


def test_the_status_of_an_execution_asks_for_a_key_that_a_signature_is_not(daemon: RunningDaemon) -> None:
    subject = SUBJECTS[0]
    execution_id = delivery_of(subject).send(daemon, subject).json["id"]
    assert daemon.get(f"/api/execution/acme/{execution_id}").status == 404


def spellings(secret: bytes) -> set[bytes]:
    plain = {secret, base64.b64encode(secret), secret.hex().encode(), quote(secret, safe="").encode()}
    return {text for item in plain for text in (item, item.upper())} | {
        json.dumps(secret.decode("latin-1")).encode()[1:-1]
    }


def test_nothing_of_a_secret_is_left_behind(daemon: RunningDaemon, project: Project) -> None:
    """In state/, the log, command lines and environments, after all of the above was accepted and refused."""
    secrets = spellings(TEXT_SECRET.encode()) | spellings(BASE64_SECRET.encode())
    places = {str(path): path.read_bytes() for path in project.folder.joinpath("state").rglob("*") if path.is_file()}
    places["log"] = daemon.log.encode()
    for pid in daemon.processes():
        for name in ("cmdline", "environ"):
            places[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    assert len(places) > 5
    found = [(place, secret) for place, content in places.items() for secret in secrets if secret in content]
    assert found == []


def test_a_packed_body_may_be_signed_before_or_after_it_was_packed(daemon: RunningDaemon) -> None:
    subject = next(subject for subject in SUBJECTS if subject.preset.name == "github")
    delivery = delivery_of(subject)
    packed = replace(delivery, body=gzip.compress(delivery.body)).changed("Content-Encoding", "gzip")
    assert packed.send(daemon, subject).status == 200
    assert "no secret matches" in refused(replace(packed, body=gzip.compress(b"{}")).send(daemon, subject))
    assert "no secret matches" in refused(replace(packed, body=b"\x1f\x8bno gzip").send(daemon, subject))
    key = subject.secret.encode()
    body = gzip.compress(delivery.body)
    unsigned = Unsigned("POST", PUBLIC + subject.path, (("Content-Encoding", "gzip"),), body, time.time())
    assert Delivery(*proved(subject.scheme, key, unsigned)).send(daemon, subject).status == 200


def test_a_large_signed_body_is_judged_as_a_small_one(daemon: RunningDaemon) -> None:
    subject = next(subject for subject in SUBJECTS if subject.preset.name == "linear")
    key = subject.secret.encode()
    for age_s, status in ((0, 200), (1_000, 401)):
        document = {"webhookTimestamp": int((time.time() - age_s) * 1000), "text": "x" * 1_000_000}
        body = json.dumps(document).encode()
        unsigned = Unsigned("POST", PUBLIC + subject.path, (("Content-Type", "application/json"),), body, time.time())
        assert Delivery(*proved(subject.scheme, key, unsigned)).send(daemon, subject).status == status


def test_a_fault_in_verify_never_leaves_a_webhook_open(daemon: RunningDaemon, project: Project) -> None:
    path = project.endpoint("broken", INPUT_FLOW, verify={"scheme": "githup", "secret": TEXT_SECRET})
    live(daemon, project.endpoint("after", INPUT_FLOW))
    answer = daemon.post(path, {"a": 1})
    assert (answer.status, answer.json["code"]) == (503, "misconfigured")
