"""TLS of the outgoing client: verified for the URL's host, 1.2 or newer, with certificates made for the test."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whd.rest import RestClient, RestError, RestFault, RestLimits, RestRequest, RestResult
from whd.rest.client import tls_context

from .servers import (
    LOOPS,
    OK,
    LocalServer,
    Reader,
    Run,
    Writer,
    answering,
    authorizing,
    left,
    runner,
    serving,
    silent_after,
    until,
)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost, right.test and 127.0.0.1."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self, *addresses: str) -> RestClient:
        """A client that trusts the certificate, and for which every name has these addresses."""
        return RestClient(
            asyncio.get_running_loop(),
            look_up=lambda host: addresses or ("127.0.0.1",),
            tls=tls_context(cafile=str(self.certificate)),
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    names = "subjectAltName=DNS:localhost,DNS:right.test,IP:127.0.0.1"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=whd tests", "-addext", names, "-out", made.certificate, "-keyout", made.key,
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return made


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


async def call(client: RestClient, url: str, *, method: str = "GET", body: bytes | None = None) -> RestResult:
    origin = "/".join(url.split("/")[:3])
    return await client.call(RestRequest(method, url, body=body), authorizing(f"{origin}/*"), RestLimits())


async def fails(call: Awaitable[RestResult]) -> RestError:
    with pytest.raises(RestError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "right.test", "localhost"])
def test_a_certificate_that_is_trusted_and_names_the_host_is_taken(
    run: Run, certificate: Certificate, host: str
) -> None:
    async def test() -> None:
        async with serving(answering(OK), certificate.server()) as server:
            result = await call(certificate.client(), f"https://{host}:{server.port}/x")
        assert result.body == b"ok"
        assert server.heard[0].headers["host"] == f"{host}:{server.port}"

    run(test)


def test_a_certificate_that_nobody_trusts_is_refused_before_anything_is_sent(
    run: Run, certificate: Certificate
) -> None:
    async def test() -> None:
        async with serving(answering(OK), certificate.server()) as server:
            client = RestClient(asyncio.get_running_loop())
            error = await fails(call(client, f"https://127.0.0.1:{server.port}/x"))
        assert error.fault == RestFault.CERTIFICATE
        # OpenSSL 3 writes it with a hyphen.
        assert re.search("the certificate of 127.0.0.1 could not be verified: self.signed certificate", str(error))
        assert server.heard == []

    run(test)


def test_a_certificate_for_another_host_is_refused(run: Run, certificate: Certificate) -> None:
    async def test() -> None:
        async with serving(answering(OK), certificate.server()) as server:
            error = await fails(call(certificate.client(), f"https://wrong.test:{server.port}/x"))
        assert error.fault == RestFault.CERTIFICATE
        assert "wrong.test" in str(error)
        assert server.heard == []

    run(test)


def test_the_name_is_verified_and_sent_though_the_connection_goes_to_an_address(
    run: Run, certificate: Certificate
) -> None:
    async def test() -> None:
        asked: list[Any] = []
        context = certificate.server()
        context.sni_callback = lambda _, name, __: asked.append(name)
        async with serving(answering(OK), context) as server:
            await call(certificate.client("127.0.0.1"), f"https://right.test:{server.port}/")
        assert asked == ["right.test"]

    run(test)


def test_tls_1_1_is_refused(run: Run, certificate: Certificate) -> None:
    async def test() -> None:
        context = certificate.server()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        async with serving(answering(OK), context) as server:
            error = await fails(call(certificate.client(), f"https://127.0.0.1:{server.port}/"))
        assert error.fault == RestFault.TLS
        assert tls_context().minimum_version == ssl.TLSVersion.TLSv1_2

    run(test)


def test_a_server_without_tls_is_an_error_that_says_so(run: Run, certificate: Certificate) -> None:
    def make(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            await reader.read(1)
            writer.write(OK)

        return handle

    async def test() -> None:
        async with serving(make) as server:
            error = await fails(call(certificate.client(), f"https://127.0.0.1:{server.port}/"))
        assert error.fault == RestFault.TLS
        assert str(error).startswith(f"GET https://127.0.0.1:{server.port}/: TLS with 127.0.0.1:{server.port} failed")

    run(test)


def test_a_large_body_goes_up_and_comes_back(run: Run, certificate: Certificate) -> None:
    async def test() -> None:
        body = bytes(range(256)) * 8_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with serving(answering(answer), certificate.server()) as server:
            result = await call(certificate.client(), f"https://127.0.0.1:{server.port}/", method="PUT", body=body)
        assert server.heard[0].body == body
        assert result.body == body

    run(test)


@pytest.mark.parametrize("stage", ["handshake", "head", "body"])
def test_cancelling_frees_the_socket_at_once(run: Run, certificate: Certificate, stage: str) -> None:
    def mute(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            await reader.read(100)
            server.heard.append(None)  # type: ignore[arg-type]
            await left(reader)

        return handle

    async def test() -> None:
        client = certificate.client()
        sent = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" if stage == "body" else b""
        make, context = (mute, None) if stage == "handshake" else (silent_after(sent), certificate.server())
        async with serving(make, context) as server:
            url = f"https://127.0.0.1:{server.port}/"
            started = client.start(RestRequest("GET", url), authorizing(url), RestLimits(), lambda outcome: None)
            await until(lambda: len(server.heard) == 1)
            started.cancel()
            await until(lambda: server.gone == 1 and client.open_count == 0)

    run(test)
