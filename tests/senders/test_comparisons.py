"""`hmac.compare_digest` is the only comparison of secrets in senders/ and auth/: read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "whd"
FILES = sorted([*PACKAGE.glob("senders/*.py"), *PACKAGE.glob("auth/*.py")])
# What a secret, or anything derived from one, is called.
SECRET_WORDS = ("secret", "signature", "digest", "password", "token", "candidate", "key", "given", "hmac", "proof")
# Names that have such a word in them and hold nothing that is secret.
HARMLESS = {"self.takes_key", "secret.is_base64"}  # and constants: names in capitals


def compared(tree: ast.AST) -> list[str]:
    """What stands on a side of ==, != or in, where a name says that it is secret."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
        ):
            for side in (node.left, *node.comparators):
                text = ast.unparse(side)
                is_measure = isinstance(side, ast.Call) and ast.unparse(side.func) in ("len", "type")
                if isinstance(side, ast.Constant) or is_measure or text in HARMLESS or text.isupper():
                    continue
                if any(word in text.lower() for word in SECRET_WORDS):
                    found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_secrets_are_compared_in_constant_time(path: Path) -> None:
    assert compared(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("text", ["secret == b'x'", "x != digest", "given in keys", "signature.hex() == other"])
def test_a_plain_comparison_is_seen(text: str) -> None:
    assert compared(ast.parse(text))
