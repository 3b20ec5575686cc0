"""`handshake` of a webhook's setting: whose, by default that of `verify` (SENDERS 7). Nothing here does I/O."""

from __future__ import annotations

from typing import Final

from ..model.caller_check import CallerCheck
from ..senders.handshakes import HANDSHAKES, Consent
from .document import Node
from .fields import FieldFaults, read_choice
from .verify import Proof, Verify

NONE: Final = "none"


def read_handshake(node: Node, line: int, field: str, report: FieldFaults) -> str | None:
    """The name of one, or NONE."""
    return read_choice(node, line, field, report, (*HANDSHAKES, NONE))


def check_handshake(name: str, line: int, verify: Verify | None, report: FieldFaults) -> None:
    """What it needs of `verify` must be there; a fault otherwise."""
    row = HANDSHAKES.get(name)
    proof = _proof_of(name, verify)
    if row is not None and row.is_signed and proof is None:
        report.fault(line, "handshake", f"needs the signature of {name}", f"verify: {{scheme: {name}, secret: …}}")
    if name == "meta" and (proof is None or not proof.fields.get("verify_token")):
        report.fault(line, "handshake", "needs a verify_token", "verify: {scheme: meta, secret: …, verify_token: …}")


def consent_of(name: str | None, verify: Verify | None, key_check: CallerCheck) -> Consent | None:
    """The webhook's handshake. `name`: the setting's; None: that of the first of `verify` that has one."""
    if name is None:
        names = [_own_handshake(proof) for proof in verify.proofs] if verify is not None else []
        name = next((each for each in names if each in HANDSHAKES), NONE)
    row = HANDSHAKES.get(name)
    if row is None:
        return None
    proof = _proof_of(name, verify)
    if proof is None:
        return Consent(row, key_check)
    tokens = proof.fields.get("verify_token") or ()
    secrets = tuple(secret.encode() for secret in proof.secrets)
    return Consent(row, key_check, secrets, tuple(token.encode() for token in tokens))


def _own_handshake(proof: Proof) -> str:
    return proof.preset.handshake if proof.preset is not None else proof.scheme


def _proof_of(name: str, verify: Verify | None) -> Proof | None:
    proofs = () if verify is None else verify.proofs
    return next((proof for proof in proofs if _own_handshake(proof) == name), None)
