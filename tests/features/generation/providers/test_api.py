"""What is told from an answer or its lack, whoever is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from service.features.generation.providers.api import Api, Call, known_id, retry_after
from service.features.generation.providers.provider import ProviderFailed
from service.kernel.clock import Clock
from tests.features.generation.providers.makers import KEY, Odd, failure


class Noon(Clock):
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 12, tzinfo=UTC)


class Answer(msgspec.Struct):
    ok: bool


LOOK = Call(method="GET", path="/things/{}", id="t1", answer=Answer)


def api(odd: Odd, **more: Any) -> Api:
    return Api(provider="acme", session=odd.session, base=f"{odd.base}/v1", key=KEY, clock=Clock(), **more)


async def test_a_call_goes_out_and_comes_back(odd: Odd) -> None:
    odd.answers(body=b'{"ok": true, "more": 1}')
    call = Call(method="POST", path="/things", json={"a": "ю"}, answer=Answer, headers={"X-Else": "1"})
    assert (await api(odd).send(call)).ok
    ((method, path, headers),) = odd.asked
    assert (method, path) == ("POST", "/v1/things")
    assert (headers["Authorization"], headers["X-Else"]) == (f"Bearer {KEY}", "1")
    assert headers["Content-Type"] == "application/json"


async def test_a_server_of_ones_own_needs_no_key(odd: Odd) -> None:
    odd.answers(body=b'{"ok": true}')
    keyless = Api(provider="acme", session=odd.session, base=odd.base, key=None, clock=Clock())
    await keyless.send(LOOK)
    assert "Authorization" not in odd.asked[0][2]


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        (400, "bad", True),
        (401, "unauthorized", True),
        (402, "out_of_quota", True),
        (403, "unauthorized", True),
        (404, "not_found", True),
        (408, "broken", False),
        (409, "broken", False),
        (413, "bad", True),
        (422, "bad", True),
        (429, "rate_limited", False),
        (500, "broken", False),
        (502, "broken", False),
        (503, "overloaded", False),
        (529, "overloaded", False),
        (302, "bad", True),
    ],
)
async def test_what_a_status_means(odd: Odd, status: int, code: str, permanent: bool) -> None:
    odd.answers(body=b"<html>somebody's words</html>", status=status, headers={"Retry-After": "7"})
    error = await failure(api(odd).send(LOOK), "words", "t1")
    assert (error.code, error.permanent, error.retry_after) == (code, permanent, None if permanent else 7.0)
    assert error.message == f"acme GET /things/{{}}: {status}"
    assert len(odd.asked) == 1, "whoever is told to wait does not try at once"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error": {"code": "context_length_exceeded", "message": "of somebody"}}', "context_length_exceeded"),
        ('{"error": {"code": null, "type": "invalid_request_error"}}', "invalid_request_error"),
        ('{"title": "Unauthenticated", "detail": "of somebody"}', "Unauthenticated"),
        ('{"title": "Input of somebody"}', ""),
        ('{"error": "of somebody"}', ""),
        ("[1]", ""),
        ("null", ""),
    ],
)
async def test_the_code_of_a_refusal_is_kept_and_nothing_else(odd: Odd, body: str, reason: str) -> None:
    odd.answers(text=body, status=400)
    error = await failure(api(odd).send(LOOK), "somebody")
    assert error.message == f"acme GET /things/{{}}: 400 {reason}".rstrip()


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_tries_are_few(odd: Odd, times: int) -> None:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503) if len(odd.asked) <= times else web.json_response({"ok": True})

    odd.handle = handle
    sending = api(odd, pauses_s=(0.0, 0.0)).send(LOOK)
    if times < 3:
        assert (await sending).ok
    else:
        assert (await failure(sending)).code == "overloaded"
    assert len(odd.asked) == min(times + 1, 3)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("0.5", 0.5),
        ("999999", 3_600.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2099 11:00:00 GMT", 3_600.0),
        ("Fri, 20 Nov 2026 12:00:30", None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 40, None),
    ],
)
def test_how_long_to_wait(given: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": given}, Noon()) == seconds


def test_an_id_is_one() -> None:
    assert known_id("Ab_9-") == "Ab_9-"
    for given in ("", "a/b", "..", "a\n", "ю", "x" * 256):
        with pytest.raises(ProviderFailed):
            known_id(given)


def test_the_client_can_be_shown() -> None:
    shown = repr(Api(provider="acme", session=None, base="http://secret", key=KEY, clock=Clock()))
    assert shown == "Api(acme)"
