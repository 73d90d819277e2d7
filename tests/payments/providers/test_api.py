"""The client against a server that does whatever a test says."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from service.errors import Invalid, Upstream
from service.kernel import metrics
from service.payments.providers import api as room
from service.payments.providers.api import Api, Refused, Unclear, form, understood

SECRET = "sk_live_nobody-may-see-this"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Processor:
    """`handle` answers every request; `api` is the client, `asked` what came in."""

    base: str = ""
    handle: Handler | None = None
    api: Api | None = None
    asked: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, await request.read(), dict(request.headers)))
        return await self.handle(request)

    def answers(self, *given: Any, **more: Any) -> None:
        async def handle(_: web.Request) -> web.StreamResponse:
            return web.Response(*given, **more)

        self.handle = handle


@pytest.fixture
async def processor() -> AsyncIterator[Processor]:
    made = Processor()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        made.base = str(server.make_url("/v1"))
        made.api = Api(
            provider="acme", session=session, base=made.base, headers={"Authorization": f"Bearer {SECRET}"}, timeout_s=1
        )
        made.answers(text='{"ok": true}')
        yield made


async def failure(processor: Processor, *call: str, **more: Any) -> Upstream:
    with pytest.raises(Upstream) as caught:
        await processor.api.call(*(call or ("GET", "/payments/{}", "pay_1")), **more)
    seen = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
    for hidden in (SECRET, "pay_1", processor.base):
        assert hidden not in seen
    return caught.value


async def test_json_goes_out_and_comes_back(processor: Processor) -> None:
    answer = await processor.api.call(
        "POST", "/payments/{}/capture", "pay_1", json={"a": "ю"}, headers={"Idempotence-Key": "k"}
    )
    assert answer == {"ok": True}
    ((method, path, body, headers),) = processor.asked
    assert (method, path, body) == ("POST", "/v1/payments/pay_1/capture", b'{"a":"\\u044e"}')
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotence-Key"] == "k"
    assert headers["Authorization"] == f"Bearer {SECRET}"


async def test_a_form_goes_into_the_body_of_a_post(processor: Processor) -> None:
    await processor.api.call("POST", "/sessions", form=form({"a": {"b": "x y&z"}, "n": 1}))
    ((_, path, body, headers),) = processor.asked
    assert (path, body) == ("/v1/sessions", b"a%5Bb%5D=x+y%26z&n=1")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_a_form_goes_into_the_query_of_a_get(processor: Processor) -> None:
    await processor.api.call("GET", "/sessions", form=[("created[gte]", "1"), ("at", "2026-01-01T00:00:00+00:00")])
    ((_, path, body, _),) = processor.asked
    assert path in (
        "/v1/sessions?created%5Bgte%5D=1&at=2026-01-01T00:00:00%2B00:00",
        "/v1/sessions?created[gte]=1&at=2026-01-01T00:00:00%2B00:00",
    )
    assert body == b""


@pytest.mark.parametrize("given", ["", "..", "a/b", "a?b=c", "a b", "a%2Fb", "a\n", "ю", "x" * 256])
async def test_an_id_cannot_lead_elsewhere(processor: Processor, given: str) -> None:
    with pytest.raises(Invalid):
        await processor.api.call("GET", "/payments/{}", given)
    assert not processor.asked


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 415, 422])
async def test_a_definite_no_is_permanent(processor: Processor, status: int) -> None:
    processor.answers(text='{"code": "invalid_request", "description": "pay_1 of the payer"}', status=status)
    error = await failure(processor)
    assert isinstance(error, Refused)
    assert (error.permanent, error.retryable, error.status) == (True, False, status)
    assert error.message == f"acme GET /payments/{{}}: {status} invalid_request"
    assert error.not_found == (status == 404)


@pytest.mark.parametrize("status", [408, 409, 423, 425, 429, 301, 302, 307])
async def test_a_no_for_now_is_none_for_good(processor: Processor, status: int) -> None:
    processor.answers(text="{}", status=status, headers={"Retry-After": "7", "Location": f"{processor.base}/elsewhere"})
    error = await failure(processor)
    assert isinstance(error, Refused)
    assert (error.permanent, error.retry_after) == (False, 7.0)
    assert len(processor.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 202])
async def test_an_answer_that_does_not_say_is_unclear(processor: Processor, status: int) -> None:
    processor.answers(text='{"type": "processing", "retry_after": 1800}', status=status)
    error = await failure(processor)
    assert isinstance(error, Unclear)
    assert (error.permanent, error.retry_after) == (False, 1.8)


@pytest.mark.parametrize("retry_after", ["-1", "soon", "Fri, 20 Nov 2026 10:00:00 GMT", "1e9", "", "9" * 40])
async def test_a_wait_that_is_no_number_is_none(processor: Processor, retry_after: str) -> None:
    processor.answers(text='{"retry_after": 1e3}', status=429, headers={"Retry-After": retry_after})
    assert (await failure(processor)).retry_after is None


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"<html>", b"[]", b"null", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000]
)
async def test_a_success_without_json_is_unclear(processor: Processor, body: bytes) -> None:
    processor.answers(body=body)
    assert isinstance(await failure(processor), Unclear)


@pytest.mark.parametrize("body", [b"", b"<html>pay_1</html>", b"[]", b"\xff"])
async def test_an_error_needs_no_json(processor: Processor, body: bytes) -> None:
    processor.answers(body=body, status=400)
    assert (await failure(processor)).message == "acme GET /payments/{}: 400"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"type": "error", "code": "not_found", "parameter": "payment_id"}', "not_found"),
        ('{"error": {"type": "invalid_request_error", "code": "charge_already_refunded"}}', "charge_already_refunded"),
        ('{"error": {"type": "idempotency_error"}}', "idempotency_error"),
        ('{"error": "ResourceNotFound", "detail": "Not found"}', "ResourceNotFound"),
        ('{"error": "Hello, the payer!"}', ""),
        ('{"code": 5}', ""),
    ],
)
async def test_the_code_of_a_refusal_is_kept(processor: Processor, body: str, reason: str) -> None:
    processor.answers(text=body, status=400)
    error = await failure(processor)
    assert isinstance(error, Refused)
    assert error.reason == reason


async def test_no_answer_in_time_is_unclear(processor: Processor) -> None:
    let_go = asyncio.Event()

    async def handle(_: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return web.Response()

    processor.handle, processor.api.timeout_s = handle, 0.1
    error = await failure(processor)
    let_go.set()
    assert isinstance(error, Unclear)
    assert "TimeoutError" in error.message


async def test_a_lost_connection_is_unclear(processor: Processor) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        request.transport.abort()
        return web.Response()

    processor.handle = handle
    assert isinstance(await failure(processor, "POST", "/payments", json={}), Unclear)


async def test_half_an_answer_is_unclear(processor: Processor) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"id": 1}')
        request.transport.close()
        return response

    processor.handle = handle
    assert isinstance(await failure(processor), Unclear)


async def test_a_broken_encoding_is_unclear(processor: Processor) -> None:
    processor.answers(body=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert isinstance(await failure(processor), Unclear)


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_has_bounds(processor: Processor, packed: bool) -> None:
    """Also one that is small until it is unpacked."""
    body = b'{"a": "' + b"x" * room.ANSWER_MAX + b'"}'
    processor.answers(
        body=gzip.compress(body) if packed else body, headers={"Content-Encoding": "gzip"} if packed else {}
    )
    processor.api.timeout_s = 10
    error = await failure(processor)
    assert isinstance(error, Unclear)
    assert "ClientPayloadError" in error.message


async def test_what_was_never_sent_was_not_done(processor: Processor) -> None:
    processor.api.base = f"http://127.0.0.1:{unused_port()}"
    error = await failure(processor, "POST", "/payments", json={})
    assert not isinstance(error, Unclear | Refused)
    assert error.retryable


def measured(outcome: str) -> float:
    labels = {"provider": "acme", "operation": "GET /payments/{}", "outcome": outcome}
    return metrics.REGISTRY.get_sample_value("ballast_upstream_seconds_count", labels) or 0


async def test_a_call_is_measured_without_the_id(processor: Processor) -> None:
    before = {outcome: measured(outcome) for outcome in ("ok", "refused", "unclear")}
    await processor.api.call("GET", "/payments/{}", "pay_1")
    processor.answers(text="{}", status=404)
    await failure(processor)
    processor.answers(text="{}", status=500)
    await failure(processor)
    assert {outcome: measured(outcome) - count for outcome, count in before.items()} == dict.fromkeys(before, 1)


async def test_a_call_is_one_line_of_the_log(processor: Processor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "payments"):
        await processor.api.call("GET", "/payments/{}", "pay_1")
    (line,) = [record for record in caplog.records if record.name == "payments"]
    assert line.getMessage() == "processor called"
    assert not [hidden for hidden in (SECRET, "pay_1", processor.base) if hidden in repr(line.__dict__)]


async def test_the_client_can_be_shown(processor: Processor) -> None:
    assert repr(processor.api) == "Api(acme)"


def test_a_form_is_nested_in_brackets() -> None:
    params = {"mode": "payment", "line_items": [{"price_data": {"unit_amount": 1000}, "quantity": 1}], "none": None}
    assert form(params | {"capture": True, "metadata": {"payment_id": "one"}}) == [
        ("mode", "payment"),
        ("line_items[0][price_data][unit_amount]", "1000"),
        ("line_items[0][quantity]", "1"),
        ("capture", "true"),
        ("metadata[payment_id]", "one"),
    ]


def test_an_answer_that_is_not_understood_is_unclear() -> None:
    with pytest.raises(Unclear, match=r"^a payment cannot be read: no id$") as caught, understood("a payment"):
        raise Invalid("no id")
    assert caught.value.retryable
