"""The table of docs/senders.md, as the presets have it."""

from __future__ import annotations

from whd.senders.presets import PRESETS
from whd.senders.scheme import PLAIN, Preset, Scheme


def signed_of(scheme: Scheme) -> str:
    if scheme.algorithm == PLAIN:
        return "nothing; the secret itself is sent"
    what = {"twilio": "URL and form", "mandrill": "URL and form", "hubspot": "method, URL, body, time"}
    if scheme.texts is not None:
        return what.get(scheme.texts.__name__, "body, or the form's `payload`")
    return f"`{scheme.signed}`"


def age_of(preset: Preset) -> str:
    ages = {f"{scheme.tolerance_s} s" for scheme in preset.schemes if scheme.timestamp}
    return " or ".join(sorted(ages)) or "any"


def sender_rows() -> list[str]:
    rows = ["| scheme | sender | header | what is signed | age | its own page |", "|---|---|---|---|---|---|"]
    for name, preset in sorted(PRESETS.items()):
        headers = ", ".join(
            dict.fromkeys(locator.partition(":")[2] for scheme in preset.schemes for locator in scheme.signature[:1])
        )
        signed = "; ".join(dict.fromkeys(signed_of(scheme) for scheme in preset.schemes))
        title = preset.title + ("" if preset.is_confirmed else " (unconfirmed)")
        url = " + `url`" if preset.needs_url else ""
        rows.append(f"| `{name}`{url} | {title} | {headers} | {signed} | {age_of(preset)} | [page]({preset.source}) |")
    return rows
