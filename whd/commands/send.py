"""`whd send`: a delivery as a sender would make it, signed with the webhook's own secret, sent to this daemon."""

from __future__ import annotations

import argparse
import http.client
import shlex
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..admin import client as control
from ..admin.client import base_url
from ..engine.state import Paths
from ..errors import ConfigError, StateError, UsageError
from ..model.snapshot import Webhook
from ..saved import read_settings
from ..senders.presets import PRESETS
from ..senders.samples import FORM_TYPE, JSON_TYPE, SAMPLES, Rendered, render, sample_of
from ..senders.scheme import Preset, Scheme
from ..senders.signer import Unsigned, proved
from ..settings.index import Index
from ..settings.tree import WEBHOOK_PREFIX
from ..settings.verify import Proof
from ..settings.webhooks import WebhookSource, read_saved_webhook
from .printing import FAULT, OK, print_json, say, say_lines, warn

TIMEOUT_S = 330.0
MAX_SHOWN_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class SignedDelivery:
    """One request, complete. `url`: where it goes to; `signed_url`: as the sender knows it."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def send(paths: Paths, given: argparse.Namespace) -> int:
    """Makes the delivery, shows it, sends it once it is confirmed, and shows the answer."""
    source = _source_of(paths, given.client, given.webhook)
    preset, secret = _sender_of(source, given)
    base = given.url or _base_of(paths)
    path = f"/api/webhook/{given.client}/{given.webhook}"
    url = given.url if given.url and urlsplit(given.url).path not in ("", "/") else base.rstrip("/") + path
    delivery = _delivery(source, preset, secret, _rendered(preset, given), url)
    if given.print == "curl":
        say_lines(_curl(delivery))
        return OK
    if not given.json:
        _show_request(delivery)
    if not given.yes and not _is_confirmed(given):
        warn("nothing was sent")
        return FAULT
    return _exchange(delivery, as_json=given.json)


def _source_of(paths: Paths, client_name: str, name: str) -> WebhookSource:
    """The webhook's setting, with its secrets. Raises ConfigError."""
    snapshot = Index(str(paths.config), str(paths.flows), saved=read_settings(paths.state)).load()
    client = snapshot.clients.get(client_name)
    if client is None:
        there = ", ".join(sorted(snapshot.clients)) or "none"
        raise ConfigError(f"there is no client {client_name}; there are: {there}")
    if not isinstance(client.webhooks.get(name), Webhook):
        there = ", ".join(sorted(client.webhooks)) or "none"
        raise ConfigError(f"{client_name} has no webhook {name} that could be called; it has: {there}")
    setting = client.settings[WEBHOOK_PREFIX + name]
    source, _ = read_saved_webhook(setting.value, setting.path, client_name, name)
    if source is None:
        raise ConfigError(f"{setting.path} cannot be read; `whd check` says why")
    return source


def _sender_of(source: WebhookSource, given: argparse.Namespace) -> tuple[Preset, bytes]:
    """Who sends, and the secret. Raises UsageError, ConfigError."""
    proofs = source.verify.proofs if source.verify is not None else ()
    named = [proof for proof in proofs if proof.preset is not None]
    preset = _preset_of(given.sender, named)
    if given.secret_file:
        return preset, _read_secret(given.secret_file)
    for proof in named:
        if proof.preset is preset:
            return preset, proof.secrets[0].encode()
    raise UsageError(
        f"{source.path} has no secret for {preset.name}; --secret-file names a file with one, - takes standard input"
    )


def _preset_of(name: str | None, proofs: list[Proof]) -> Preset:
    if name is not None:
        return PRESETS[name]
    found = {proof.scheme: proof.preset for proof in proofs}
    if len(found) == 1:
        preset = next(iter(found.values()))
        assert preset is not None
        return preset
    raise UsageError("--as NAME says who sends: the webhook's verify names no one sender")


def _read_secret(name: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"--secret-file: {name}: {error.strerror}") from None
    return data.removesuffix(b"\n")


def _base_of(paths: Paths) -> str:
    try:
        base = base_url(control.ask(paths.state, "status", {})["addresses"])
    except StateError as error:
        raise StateError(f"{error}; --url names where to send to") from None
    if not base:
        raise StateError("the daemon listens nowhere; --url names where to send to")
    return base


def _rendered(preset: Preset, given: argparse.Namespace) -> Rendered:
    """What is sent but for its proof. Raises UsageError."""
    sample = sample_of(preset.name, given.event or "")
    if sample is None:
        events = ", ".join(one.event for one in SAMPLES.get(preset.name, ()) if one.event) or "none by name"
        raise UsageError(f"there is no sample of {given.event} of {preset.title}; there are: {events}")
    rendered = render(sample, time.time(), str(uuid.uuid4()))
    if given.body is None:
        return rendered
    if given.body.startswith("@"):
        try:
            body = sys.stdin.buffer.read() if given.body == "@-" else Path(given.body[1:]).read_bytes()
        except OSError as error:
            raise UsageError(f"--body: {given.body[1:]}: {error.strerror}") from None
    else:
        body = given.body.encode()
    content_type = JSON_TYPE if body.lstrip()[:1] in (b"{", b"[") else FORM_TYPE
    rest = tuple(header for header in rendered.headers if header[0] != "Content-Type")
    return Rendered(rendered.method, (("Content-Type", content_type), *rest), body)


def _delivery(source: WebhookSource, preset: Preset, secret: bytes, rendered: Rendered, url: str) -> SignedDelivery:
    pairs = preset.keys_of(secret)
    if not pairs:
        raise UsageError(f"the secret is not written as {preset.title} writes it")
    scheme, key = next((pair for pair in pairs if _fits(pair[0], rendered)), pairs[0])
    signed_url = _registered(source) or url
    headers = rendered.headers
    if source.keys:
        # A sender has it in the URL; a header leaves what it signs as it is.
        headers = (*headers, ("X-Webhook-Key", source.keys[0].decode()))
    unsigned = Unsigned(rendered.method, signed_url, headers, rendered.body, time.time(), f"msg_{uuid.uuid4().hex}")
    all_headers, body = proved(scheme, key, unsigned)
    return SignedDelivery(rendered.method, url, all_headers, body)


def _fits(scheme: Scheme, rendered: Rendered) -> bool:
    is_form = dict(rendered.headers).get("Content-Type", "").startswith(FORM_TYPE)
    return not scheme.signature[0].startswith("form:" if not is_form else "json:")


def _registered(source: WebhookSource) -> str:
    """The URL that the sender knows, where it signs that."""
    proofs = source.verify.proofs if source.verify is not None else ()
    return next((proof.fields["url"] for proof in proofs if "url" in proof.fields), "")


def _shown_headers(delivery: SignedDelivery) -> list[tuple[str, str]]:
    return [(name, "$KEY" if name == "X-Webhook-Key" else value) for name, value in delivery.headers]


def _curl(delivery: SignedDelivery) -> str:
    """The delivery as a line for a shell; the key, if there is one, is the shell's variable KEY."""
    words = ["curl", "-X", delivery.method]
    for name, value in _shown_headers(delivery):
        words += ["-H", f'"{name}: $KEY"' if value == "$KEY" else shlex.quote(f"{name}: {value}")]
    words += ["--data-binary", shlex.quote(delivery.body.decode("utf-8", "surrogateescape")), shlex.quote(delivery.url)]
    return " ".join(words)


def _show_request(delivery: SignedDelivery) -> None:
    say(f"{delivery.method} {delivery.url}")
    for name, value in _shown_headers(delivery):
        say(f"{name}: {value}")
    say("")
    say_lines(_text_of(delivery.body))
    say("")


def _text_of(body: bytes) -> str:
    text = body[:MAX_SHOWN_BYTES].decode("utf-8", "replace")
    more = len(body) - MAX_SHOWN_BYTES
    return f"{text}… ({more} bytes more)" if more > 0 else text


def _is_confirmed(given: argparse.Namespace) -> bool:
    """Asks, for the real flow runs. Raises UsageError where nobody can answer."""
    if not sys.stdin.isatty():
        raise UsageError("this runs the real flow; --yes sends without a question")
    warn(f"This runs the flow of {given.client}/{given.webhook}. Send it? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _exchange(delivery: SignedDelivery, *, as_json: bool) -> int:
    parts = urlsplit(delivery.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT_S)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(delivery.method, target, delivery.body, dict(delivery.headers))
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StateError(f"{delivery.url} does not answer: {error}") from None
    finally:
        connection.close()
    if as_json:
        text = body.decode("utf-8", "replace")
        print_json({"status": answer.status, "headers": dict(answer.getheaders()), "body": text})
    else:
        say(f"{answer.status} {answer.reason}")
        for name, value in answer.getheaders():
            say(f"{name}: {value}")
        say("")
        say_lines(_text_of(body))
    return OK if answer.status < 400 else FAULT
