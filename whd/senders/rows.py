"""What some senders sign and no template says: at most 20 lines a row, each with the source that it follows.

Pure functions of a SignedRequest; each gives every text that may have been signed, or raises SignatureRefused.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from urllib.parse import parse_qsl, urlsplit

from .scheme import SignatureRefused, SignedRequest

MAX_FIELDS = 1_000
_FORM = "application/x-www-form-urlencoded"
# developers.hubspot.com, "Validating requests", v3: these escapes of the URI are undone before it is signed.
_HUBSPOT_ESCAPES = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip


def is_form(content_type: str) -> bool:
    """Whether the type is that of a form in the URL's encoding."""
    return content_type.partition(";")[0].partition(",")[0].strip().lower() == _FORM


def form_pairs(request: SignedRequest) -> list[tuple[str, str]]:
    """Names and values of a form, decoded, in order. Empty for another type of body."""
    if not is_form(request.content_type):
        return []
    try:
        return parse_qsl(
            request.body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise SignatureRefused(f"the form is not UTF-8 or has more than {MAX_FIELDS} fields") from None


def _url_of(request: SignedRequest) -> str:
    return request.url or request.head.target


def twilio(request: SignedRequest) -> list[bytes]:
    """The URL and the form, or the URL, whose query has the body's digest.

    Source: twilio-python, request_validator.py: names sorted, values of a name sorted and unique; the URL is tried with
    the port and without.
    """
    urls = _with_and_without_port(_url_of(request))
    if is_form(request.content_type) or not request.body:
        pairs = "".join(name + value for name, value in sorted(set(form_pairs(request))))
        return [(url + pairs).encode() for url in urls]
    query = dict(parse_qsl(urlsplit(request.head.target).query))
    if not compare_digest(query.get("bodySHA256", "").encode(), sha256(request.body).hexdigest().encode()):
        raise SignatureRefused("bodySHA256 in the query is missing or not that of the body")
    return [url.encode() for url in urls]


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    port = {"https": 443, "http": 80}.get(parts.scheme)
    if port is None or not parts.hostname:
        return [url]
    user, at, host = parts.netloc.rpartition("@")
    name = host.partition(":")[0]
    return [parts._replace(netloc=f"{user}{at}{name}{end}").geturl() for end in ("", f":{parts.port or port}")]


def mandrill(request: SignedRequest) -> list[bytes]:
    """The URL and the form's names and values, sorted by name.

    Source: mandrill.zendesk.com 205583257.
    """
    pairs = sorted(form_pairs(request), key=lambda pair: pair[0])
    return [(_url_of(request) + "".join(name + value for name, value in pairs)).encode()]


def hubspot(request: SignedRequest) -> list[bytes]:
    """Method, URL, body and timestamp, some escapes of the URL undone.

    Source: developers.hubspot.com, "Validating requests", v3.
    """
    url = _url_of(request)
    for escape, character in _HUBSPOT_ESCAPES.items():
        url = url.replace(escape, character).replace(escape.lower(), character)
    return [request.head.method.encode() + url.encode() + request.body + request.timestamp]


def json_of_payload(request: SignedRequest) -> list[bytes]:
    """The body; of a form its member `payload`, which is the JSON that was signed.

    Source: gogs, internal/database/webhook.go at eb1054e54.
    """
    if not is_form(request.content_type):
        return [request.body]
    return [value.encode() for name, value in form_pairs(request) if name == "payload"][:1]


def payload_or_body(request: SignedRequest) -> list[bytes]:
    """The form's member or the form: which of them Gitea signs was not confirmed, and both take the secret to sign."""
    return [request.body, *json_of_payload(request)]
