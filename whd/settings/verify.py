"""`verify` of a webhook's setting: from YAML to the check of its callers (SENDERS 3).

One mapping, or a list of which any one must hold. A scheme is a row of SCHEMES: a preset, or one of those that a
setting describes itself. None of the functions raises for what a file holds, and no fault repeats a secret. Nothing
here does I/O; the clock is handed to the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Final

from ..auth.combined import AnyOf
from ..model.caller_check import CallerCheck
from ..senders.check import SignatureCheck
from ..senders.credentials import BasicCheck, BearerCheck
from ..senders.jwt import HMAC_ALGORITHMS, PUBLIC_KEY_ALGORITHMS, JwtCheck
from ..senders.locators import Locator, NotALocator, parse_locator
from ..senders.msgraph import ClientStateCheck
from ..senders.presets import PRESETS
from ..senders.scheme import ENCODINGS, HASHES, PLAIN, Preset, Scheme, SecretForm
from ..senders.template import BadTemplate, compile_template
from ..senders.verifier import MOST_SECRETS, Verifier
from ..wire.suggest import closest
from .document import INT, LIST, Node
from .fields import FieldFaults, known_fields, read_bool, read_choice, read_choices, read_mapping, read_text, read_texts

SHORTEST_SECRET: Final = 16
MOST_SCHEMES: Final = 4
# Besides presets.
SCHEMES_OF_FLOWS: Final = ("hmac", "token", "basic")
MOST_TOLERANCE_S: Final = 86_400
# What a call gets that was taken and runs nothing, where no sender's row says otherwise.
NO_CONTENT: Final = 204
# What a list of signatures may be separated by: never a character of a signature.
_SEPARATORS: Final = (",", ";", " ")
_UNITS: Final = ("s", "ms", "rfc3339")

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Proof:
    """One mapping of `verify`, as read. `secrets`: as written; `fields`: what else stands there, read.

    `is_timed`: a signed timestamp limits its age.
    """

    scheme: str
    line: int
    secrets: tuple[str, ...] = dataclass_field(repr=False)
    fields: Mapping[str, Any] = dataclass_field(repr=False)
    preset: Preset | None = None
    is_timed: bool = False

    @property
    def is_signed(self) -> bool:
        """Whether something of each delivery is signed; else the secret itself is sent, or a token."""
        if self.preset is not None:
            return any(scheme.algorithm != PLAIN for scheme in self.preset.schemes)
        return self.scheme == "hmac"

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.preset.title if self.preset is not None else self.scheme


@dataclass(frozen=True, slots=True)
class Verify:
    """All of `verify`: any one of the proofs must hold."""

    proofs: tuple[Proof, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All of them, as written."""
        return tuple(secret for proof in self.proofs for secret in proof.secrets)

    @property
    def is_timeless(self) -> bool:
        """Whether one of them signs deliveries without a time, so that a copy is as good as the first for ever."""
        return any(proof.is_signed and not proof.is_timed for proof in self.proofs)

    @property
    def unwrap(self) -> str:
        """The member of a form that is the sender's payload, "" for none."""
        return next((proof.preset.unwrap for proof in self.proofs if proof.preset and proof.preset.unwrap), "")

    @property
    def parses_first(self) -> bool:
        """Whether one of them reads members of the body before the signature is known to hold."""
        return any(proof.scheme == "msgraph" or (proof.preset and proof.preset.parses_first) for proof in self.proofs)

    def signs(self, part: Locator | str) -> bool:
        """Whether every proof covers what stands at a locator, or (any text) the body."""
        return all(_signs(proof, part) for proof in self.proofs)

    @property
    def success_status(self) -> int:
        """What the sender takes for success."""
        presets = [proof.preset for proof in self.proofs if proof.preset is not None]
        return presets[0].success.status if presets else NO_CONTENT

    def check(self, now: Now) -> CallerCheck:
        """The check of callers. `now`: seconds since 1970."""
        checks = tuple(SCHEMES[proof.scheme].make(proof, now) for proof in self.proofs)
        return checks[0] if len(checks) == 1 else AnyOf(checks)


def _signs(proof: Proof, part: Locator | str) -> bool:
    if proof.preset is not None:
        pairs = [pair for secret in proof.secrets for pair in proof.preset.keys_of(secret.encode())]
        schemes = [scheme for scheme, _key in pairs]
    else:
        schemes = [_hmac_scheme(proof.fields)] if proof.scheme == "hmac" else []
    has_url = bool(proof.fields.get("url"))
    return bool(schemes) and all(_covers(scheme, part, has_url) for scheme in schemes)


def _covers(scheme: Scheme, part: Locator | str, has_url: bool) -> bool:
    if scheme.algorithm == PLAIN:
        return False
    is_in_body = isinstance(part, str) or not part.is_in_head
    if scheme.texts is not None:
        return is_in_body
    template = compile_template(scheme.signed)
    if is_in_body and template.has_body:
        return True
    if isinstance(part, str):
        return False
    if part.kind == "query" and (template.names("query") or (template.names("url") and not has_url)):
        return True
    words = (("id", scheme.id), ("timestamp", scheme.timestamp))
    signed = [text for word, text in words if template.names(word)] + [str(each) for each in template.locators]
    return _folded(str(part)) in map(_folded, signed)


def _folded(locator: str) -> str:
    """Names of headers are the same in either case."""
    return locator.lower() if locator.startswith("header:") else locator


_Read = Callable[[Node, int, str, FieldFaults], Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A scheme that a setting may name: its fields with their readers, those that it must have, and its check."""

    fields: Mapping[str, _Read]
    required: tuple[str, ...]
    make: Callable[[Proof, Now], CallerCheck]
    secret: str = "secret"


def read_verify(node: Node, line: int, field: str, report: FieldFaults) -> Verify | None:
    """Reads the field; None with a fault."""
    if node.kind == LIST:
        if not 0 < len(node.items) <= MOST_SCHEMES:
            report.fault(line, field, f"is a list of {len(node.items)}", f"one to {MOST_SCHEMES} mappings with scheme")
            return None
        proofs = [_read_proof(item, item.line, field, report) for item in node.items]
    else:
        proofs = [_read_proof(node, line, field, report)]
    good = tuple(proof for proof in proofs if proof is not None)
    return Verify(good) if len(good) == len(proofs) else None


def check_by_flow(verify: Verify, field: str, report: FieldFaults) -> None:
    """A fault for each scheme that a webhook which a flow saved cannot have."""
    for proof in verify.proofs:
        if proof.preset is None and proof.scheme not in SCHEMES_OF_FLOWS:
            expected = f"a preset or one of {', '.join(SCHEMES_OF_FLOWS)}"
            report.fault(proof.line, f"{field}.scheme", f"{proof.scheme} is for operators", expected)


def _read_proof(node: Node, line: int, field: str, report: FieldFaults) -> Proof | None:
    expected = "a mapping with scheme and secret, as in {scheme: github, secret: …}"
    items = read_mapping(node, line, field, report, expected)
    if items is None:
        return None
    if "scheme" not in items:
        report.fault(line, field, "has no scheme", expected)
        return None
    scheme_line, scheme_node = items["scheme"]
    name = read_text(scheme_node, scheme_line, f"{field}.scheme", report)
    if name is None:
        return None
    kind = SCHEMES.get(name)
    if kind is None:
        meant = closest(name, SCHEMES)
        report.fault(scheme_line, f"{field}.scheme", "is no scheme", f"one of {', '.join(sorted(SCHEMES))}", meant)
        return None
    readers: dict[str, _Read] = {"scheme": read_text, kind.secret: _read_secret, **kind.fields}
    known_fields(node, readers, report, within=field, secret=True)
    values: dict[str, Any] = {}
    is_good = True
    for item, (item_line, value) in items.items():
        if item in readers:
            values[item] = readers[item](value, item_line, f"{field}.{item}", report)
            is_good = is_good and values[item] is not None
        else:
            is_good = False
    for item in (kind.secret, *kind.required):
        if item not in items and not (item == kind.secret and "public_key" in items):
            report.fault(line, f"{field}.{item}", "is missing", f"{item}: … for the scheme {name}")
            is_good = False
    if not is_good:
        return None
    secrets = values.pop(kind.secret, ())
    proof = Proof(name, line, secrets, values, PRESETS.get(name))
    return _checked(proof, items, field, report)


def _checked(proof: Proof, items: Mapping[str, tuple[int, Node]], field: str, report: FieldFaults) -> Proof | None:
    """What concerns several fields at once."""
    kind = SCHEMES[proof.scheme]
    secret_line = items[kind.secret][0] if kind.secret in items else proof.line
    for secret in proof.secrets:
        if len(secret) < SHORTEST_SECRET:
            report.warning(
                secret_line, f"{field}.{kind.secret}", f"has {len(secret)} characters",
                f"{SHORTEST_SECRET} or more, made at random",
            )  # fmt: skip
        if secret != secret.strip():
            report.warning(
                secret_line, f"{field}.{kind.secret}", "begins or ends with white space", "the secret as it was given"
            )
    if proof.preset is not None:
        return _checked_preset(proof, secret_line, field, report)
    if proof.scheme == "hmac":
        scheme = _hmac_scheme(proof.fields)
        if any(_hmac_form(proof.fields).key_of(secret.encode()) is None for secret in proof.secrets):
            report.fault(secret_line, f"{field}.secret", "is no base64", "base64, as secret_encoding says")
            return None
        for word, item in (("timestamp", "timestamp"), ("id", "id")):
            if compile_template(scheme.signed).names(word) and not proof.fields.get(item):
                report.fault(proof.line, f"{field}.{item}", f"is missing: {{{word}}} is signed", 'as in "header:NAME"')
                return None
        is_signed = compile_template(scheme.signed).names("timestamp") or scheme.timestamp.startswith("json:")
        if scheme.timestamp and not is_signed:
            report.fault(
                proof.line, f"{field}.timestamp", "is not signed, so anybody could renew it",
                "{timestamp} in signed, or no timestamp",
            )  # fmt: skip
            return None
        return replace(proof, is_timed=bool(scheme.timestamp and proof.fields.get("tolerance_s", 1)))
    if proof.scheme == "jwt":
        return _checked_jwt(proof, field, report)
    return proof


def _checked_preset(proof: Proof, secret_line: int, field: str, report: FieldFaults) -> Proof | None:
    preset = proof.preset
    assert preset is not None
    for secret in proof.secrets:
        if not preset.keys_of(secret.encode()):
            report.fault(
                secret_line, f"{field}.secret", f"is not written as {preset.title} writes it",
                "whsec_ and base64 of 24 bytes or more, as the sender shows it",
            )  # fmt: skip
            return None
    if not preset.is_confirmed:
        report.warning(
            proof.line, f"{field}.scheme", f"what {preset.title} signs is not confirmed by its own documentation",
            "a look at the first deliveries",
        )  # fmt: skip
    is_timed = any(scheme.timestamp for scheme in preset.schemes) and bool(proof.fields.get("tolerance_s", 1))
    return replace(proof, is_timed=is_timed)


def _checked_jwt(proof: Proof, field: str, report: FieldFaults) -> Proof | None:
    of_hmac = [name for name in proof.fields["algorithms"] if name in HMAC_ALGORITHMS]
    if of_hmac and len(of_hmac) < len(proof.fields["algorithms"]):
        # A public key as the secret of an HMAC would let anybody sign (RFC 8725, 2.1).
        report.fault(proof.line, f"{field}.algorithms", "mixes HS with public-key algorithms", "one kind of them")
        return None
    if not of_hmac:
        report.fault(
            proof.line, f"{field}.algorithms", "need a public key, and this whd verifies none yet",
            "HS256, HS384 or HS512, and the secret",
        )  # fmt: skip
        return None
    if bool(of_hmac) != bool(proof.secrets) or bool(of_hmac) == ("public_key" in proof.fields):
        expected = "secret for HS256, HS384, HS512; public_key for the others"
        report.fault(proof.line, field, "has a key of the wrong kind for its algorithms", expected)
        return None
    if any(secret.lstrip().startswith("-----BEGIN") for secret in proof.secrets):
        report.fault(proof.line, f"{field}.secret", "is a public key", "public_key: and RS256, ES256 or EdDSA")
        return None
    return replace(proof, is_timed=True)


def _read_secret(node: Node, line: int, field: str, report: FieldFaults) -> tuple[str, ...] | None:
    secrets = read_texts(node, line, field, report, secret=True, one_will_do=True)
    if secrets is None:
        return None
    if not 0 < len(secrets) <= MOST_SECRETS:
        report.fault(line, field, f"is a list of {len(secrets)}", f"one to {MOST_SECRETS} secrets")
        return None
    return secrets


def _read_whole(most: int) -> _Read:
    def read(node: Node, line: int, field: str, report: FieldFaults) -> int | None:
        if node.kind != INT or not 0 <= node.value <= most:
            report.fault(line, field, "is no number of seconds", f"a whole number from 0 to {most}")
            return None
        return int(node.value)

    return read


def _read_one_of(*choices: str) -> _Read:
    return lambda node, line, field, report: read_choice(node, line, field, report, choices)


def _read_header(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    text = read_text(node, line, field, report)
    return None if text is None else _locator(f"header:{text}", ("header",), line, field, report)


def _read_locator(*kinds: str) -> _Read:
    def read(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
        text = read_text(node, line, field, report)
        if text is None or text.startswith("item:"):
            return text
        return _locator(text, kinds, line, field, report)

    return read


def _locator(text: str, kinds: tuple[str, ...], line: int, field: str, report: FieldFaults) -> str | None:
    try:
        return str(parse_locator(text, kinds))
    except NotALocator as error:
        report.fault(line, field, "names nothing of a request", str(error).removeprefix("expected "))
        return None


def _read_template(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    text = read_text(node, line, field, report)
    if text is None:
        return None
    try:
        compile_template(text)
    except BadTemplate as error:
        report.fault(line, field, str(error))
        return None
    return text


def _read_url(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    text = read_text(node, line, field, report)
    if text is not None and not text.startswith(("https://", "http://")):
        report.fault(line, field, "is no URL", "https://…, exactly as it was registered with the sender")
        return None
    return text


def _read_text_list(node: Node, line: int, field: str, report: FieldFaults) -> tuple[str, ...] | None:
    return read_texts(node, line, field, report, one_will_do=True)


def _read_algorithms(node: Node, line: int, field: str, report: FieldFaults) -> tuple[str, ...] | None:
    names = read_choices(node, line, field, report, (*HMAC_ALGORITHMS, *PUBLIC_KEY_ALGORITHMS))
    if names == ():
        report.fault(line, field, "is an empty list", "the algorithms that are accepted, as in [HS256]")
        return None
    return names


def _preset_check(proof: Proof, now: Now) -> CallerCheck:
    preset = proof.preset
    assert preset is not None
    pairs = [pair for secret in proof.secrets for pair in preset.keys_of(secret.encode())]
    tolerance_s = proof.fields.get("tolerance_s")
    verifiers = []
    for scheme in preset.schemes:
        keys = [key for found, key in pairs if found is scheme]
        if keys:
            verifiers.append(Verifier(scheme, keys, url=proof.fields.get("url", ""), tolerance_s=tolerance_s))
    return SignatureCheck(tuple(verifiers), now)


def _hmac_form(fields: Mapping[str, Any]) -> SecretForm:
    return SecretForm(is_base64=fields.get("secret_encoding") == "base64")


def _hmac_scheme(fields: Mapping[str, Any]) -> Scheme:
    names = ("signed", "algorithm", "encoding", "prefix", "separator", "timestamp", "unit", "tolerance_s", "id")
    return Scheme((fields["header"],), **{name: fields[name] for name in names if name in fields})


def _hmac_check(proof: Proof, now: Now) -> CallerCheck:
    form = _hmac_form(proof.fields)
    keys = [key for key in (form.key_of(secret.encode()) for secret in proof.secrets) if key is not None]
    return SignatureCheck((Verifier(_hmac_scheme(proof.fields), keys, url=proof.fields.get("url", "")),), now)


def _token_check(proof: Proof, now: Now) -> CallerCheck:
    scheme = Scheme((proof.fields["header"],), algorithm=PLAIN, prefix=proof.fields.get("prefix", ""))
    return SignatureCheck((Verifier(scheme, _encoded(proof)),), now)


def _jwt_check(proof: Proof, now: Now) -> CallerCheck:
    names = ("algorithms", "audience", "issuer", "leeway_s", "require_exp")
    given = {name: proof.fields[name] for name in names if name in proof.fields}
    return JwtCheck(now=now, keys=_encoded(proof), **given)


def _encoded(proof: Proof) -> tuple[bytes, ...]:
    return tuple(secret.encode() for secret in proof.secrets)


_TOLERANCE: Final = _read_whole(MOST_TOLERANCE_S)
SCHEMES: Final[dict[str, _Kind]] = {
    "hmac": _Kind(
        {
            "header": _read_header,
            "algorithm": _read_one_of(*HASHES),
            "encoding": _read_one_of(*ENCODINGS),
            "prefix": read_text,
            "separator": _read_one_of(*_SEPARATORS),
            "signed": _read_template,
            "timestamp": _read_locator("header", "json"),
            "unit": _read_one_of(*_UNITS),
            "tolerance_s": _TOLERANCE,
            "id": _read_locator("header"),
            "secret_encoding": _read_one_of("text", "base64"),
            "url": _read_url,
        },
        ("header",),
        _hmac_check,
    ),
    "token": _Kind({"header": _read_header, "prefix": read_text}, ("header",), _token_check),
    "basic": _Kind(
        {"user": read_text},
        ("user",),
        lambda proof, now: BasicCheck(proof.fields["user"].encode(), _encoded(proof)),
        secret="password",
    ),
    "bearer": _Kind({}, (), lambda proof, now: BearerCheck(_encoded(proof))),
    "msgraph": _Kind({}, (), lambda proof, now: ClientStateCheck(_encoded(proof))),
    "jwt": _Kind(
        {
            "algorithms": _read_algorithms,
            "public_key": _read_text_list,
            "audience": _read_text_list,
            "issuer": _read_text_list,
            "leeway_s": _read_whole(3_600),
            "require_exp": read_bool,
        },
        ("algorithms",),
        _jwt_check,
    ),
    **{
        name: _Kind(
            {
                "tolerance_s": _TOLERANCE,
                **({"url": _read_url} if preset.needs_url else {}),
                **({"verify_token": _read_secret} if preset.handshake == "meta" else {}),
            },
            ("url",) if preset.needs_url else (),
            _preset_check,
        )
        for name, preset in PRESETS.items()
    },
}

# The members of a mapping that operators are shown.
SHOWN_MEMBERS: Final = frozenset({"scheme"}).union(*(kind.fields for kind in SCHEMES.values())) - {"verify_token"}
