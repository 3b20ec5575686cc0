"""A webhook's file under given options, in one step: what the daemon does in two, since options change alone."""

from __future__ import annotations

from whd.model.options import Options
from whd.model.snapshot import Webhook
from whd.settings.parse import Faults
from whd.settings.webhooks import derive_webhook, read_webhook


def parse_webhook(
    data: bytes | str, path: str, client_name: str, name: str, options: Options
) -> tuple[Webhook | None, Faults]:
    """A `client.webhook.<name>` file with `options` as the bounds; a looser value in it gives a warning."""
    source, faults = read_webhook(data, path, client_name, name)
    if source is None:
        return None, faults
    webhook, warnings = derive_webhook(source, options, lambda: 0.0)
    return webhook, faults + warnings
