"""Chat completions and images, against the stand-in and against servers that misbehave."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from PIL import Image

from service.features.generation.providers import files, quiet
from service.kernel import metrics
from service.kernel.clock import Clock
from service.sandbox.generation import REFUSED
from tests.features.generation.providers.makers import KEY, PROMPT, Makers, Odd, failure, opened, request
from tests.waiting import until

CHAT = {"kind": "chat", "model": "gpt-5-mini"}
IMAGE = {"kind": "image", "model": "gpt-image-1", "size": "1024x1024"}
LINK = {"kind": "image", "model": "dall-e-3"}
POST_CHAT = "POST /chat/completions"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()


async def test_a_chat(makers: Makers) -> None:
    made = await makers.get("openai").start(request("Привет", **CHAT, system="Be brief.", temperature=0.5))
    assert made.file is None
    assert made.text is not None
    assert "«Привет»" in made.text
    (call,) = makers.sandbox.calls.of(POST_CHAT)
    assert orjson.loads(call.body) == {
        "model": "gpt-5-mini",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Привет"}],
        "stream": False,
        "temperature": 0.5,
    }


@pytest.mark.parametrize("params", [IMAGE, LINK, {**LINK, "response_format": "b64_json"}])
async def test_an_image(makers: Makers, params: dict[str, Any]) -> None:
    made = await makers.get("openai").start(request(**params))
    assert made.file is not None
    assert (made.file.name, made.file.media_type) == ("made.png", "image/png")
    with Image.open(BytesIO(made.file.body)) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("params", [CHAT, IMAGE, LINK])
async def test_a_refusal_is_for_good(makers: Makers, params: dict[str, Any]) -> None:
    error = await failure(makers.get("openai").start(request(f"something {REFUSED}", **params)), REFUSED)
    assert (error.code, error.permanent) == ("refused", True)


@pytest.mark.parametrize(
    ("params", "code"), [({**CHAT, "model": "nobody"}, "not_found"), ({**IMAGE, "size": "1x1"}, "bad")]
)
async def test_a_wrong_catalogue_is_wrong_for_good(makers: Makers, params: dict[str, Any], code: str) -> None:
    error = await failure(makers.get("openai").start(request(**params)))
    assert (error.code, error.permanent) == (code, True)


async def test_a_wrong_key(makers: Makers) -> None:
    found = opened(makers.session, f"{makers.base}/v1", Clock(), GENERATION_API_KEY="sk-another")
    error = await failure(found.get("openai").start(request(**CHAT)), "sk-another")
    assert (error.code, error.permanent) == ("unauthorized", True)
    assert error.message == "openai POST /chat/completions: 401 invalid_api_key"


async def test_too_many_is_said_once_and_kept_by_the_model(makers: Makers) -> None:
    makers.sandbox.faults.flood(POST_CHAT)
    makers.sandbox.told_to_wait("7")
    openai = makers.get("openai")
    error = await failure(openai.start(request(**CHAT)))
    assert (error.code, error.permanent, error.retry_after) == ("rate_limited", False, 7.0)
    again = await failure(openai.start(request(**CHAT)))
    assert again.code == "rate_limited"
    assert again.retry_after is not None
    assert 6 < again.retry_after <= 7
    assert len(makers.sandbox.calls) == 1, "nothing goes out while it lasts"
    assert (await openai.start(request(**{**CHAT, "model": "gpt-4.1"}))).text, "another model is another limit"
    makers.clock.by = 7
    assert (await openai.start(request(**CHAT))).text


async def test_too_many_without_a_time_is_a_time_of_ours(makers: Makers) -> None:
    makers.sandbox.faults.flood(POST_CHAT)
    makers.sandbox.told_to_wait("")
    error = await failure(makers.get("openai").start(request(**CHAT)))
    assert error.retry_after == quiet.UNTOLD_S


async def test_no_money_at_the_provider_is_not_waited_for(odd: Odd) -> None:
    odd.answers(text='{"error": {"code": "insufficient_quota", "message": "of sk-x"}}', status=429)
    error = await failure(odd.providers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent, error.retry_after) == ("out_of_quota", True, None)


@pytest.mark.parametrize("status", [503, 529])
async def test_an_overload_is_tried_again_within_the_call(makers: Makers, status: int) -> None:
    makers.sandbox.faults.fail(POST_CHAT, status=status, times=2)
    assert (await makers.get("openai").start(request(**CHAT))).text
    assert [call.status for call in makers.sandbox.calls] == [status, status, 200]


async def test_an_overload_that_lasts_is_the_queues(makers: Makers) -> None:
    makers.sandbox.faults.fail(POST_CHAT, status=503, times=9)
    error = await failure(makers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("overloaded", False)
    assert len(makers.sandbox.calls) == 3


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_what_may_have_been_done_is_not_asked_twice(makers: Makers, status: int) -> None:
    makers.sandbox.faults.fail(POST_CHAT, status=status)
    error = await failure(makers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("broken", False)
    assert len(makers.sandbox.calls) == 1


async def test_a_dropped_connection_is_not_asked_twice(makers: Makers) -> None:
    """Of a request that was sent on a fresh connection."""
    makers.sandbox.faults.drop(POST_CHAT, times=5)
    error = await failure(makers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("no_answer", False)
    assert len(makers.sandbox.calls) == 1


async def test_nobody_there_is_tried_again(makers: Makers) -> None:
    found = opened(makers.session, f"http://127.0.0.1:{unused_port()}/v1", Clock())
    error = await failure(found.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("unreachable", False)


async def test_an_answer_that_does_not_come_in_time(makers: Makers) -> None:
    makers.sandbox.faults.hang(POST_CHAT)
    error = await failure(makers.get("openai").start(request(**CHAT, timeout_s=0.2)))
    assert (error.code, error.permanent) == ("timeout", False)
    makers.sandbox.faults.clear()


async def test_a_cancelled_start_closes_its_connection(makers: Makers) -> None:
    makers.sandbox.faults.hang(POST_CHAT)
    starting = asyncio.create_task(makers.get("openai").start(request(**CHAT)))
    connector = makers.session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    await until(lambda: connector._acquired)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not connector._acquired
    makers.sandbox.faults.clear()


async def test_half_an_answer(odd: Odd) -> None:
    odd.breaks_off(after=b'{"choices": [')
    error = await failure(odd.providers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("no_answer", False)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"OK", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"data": []}'),
        *(b'{"choices": 5}', b'{"choices": [{}]}', b'{"choices": [{"message": {"content": ["x"]}}]}'),
    ],
)
async def test_an_answer_that_cannot_be_read(odd: Odd, body: bytes) -> None:
    odd.answers(body=body)
    error = await failure(odd.providers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("unreadable", False)
    assert len(odd.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": [{"message": {}}]},
        {"choices": [{"message": {"content": " \n"}}]},
        {"choices": [{"message": {"content": None}, "finish_reason": "length"}]},
    ],
)
async def test_an_answer_that_says_nothing(odd: Odd, answer: Any) -> None:
    odd.answers(body=orjson.dumps(answer))
    assert (await failure(odd.providers.get("openai").start(request(**CHAT)))).code == "empty"


async def test_a_filter_that_says_so_refuses(odd: Odd) -> None:
    odd.answers(body=b'{"choices": [{"message": {"content": "I w"}, "finish_reason": "content_filter"}]}')
    error = await failure(odd.providers.get("openai").start(request(**CHAT)))
    assert (error.code, error.permanent) == ("refused", True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"data": []}, "empty"),
        ({"data": [{}]}, "empty"),
        ({"data": [{"b64_json": "?"}]}, "unreadable"),
        ({"data": [{"url": "file:///etc/passwd"}]}, "unreadable"),
        ({"data": [{"url": "http://["}]}, "unreadable"),
        ({"data": [{"url": "https://"}]}, "unreadable"),
        ({"data": [{"b64_json": 5}]}, "unreadable"),
    ],
)
async def test_an_image_that_is_none(odd: Odd, answer: Any, code: str) -> None:
    odd.answers(body=orjson.dumps(answer))
    assert (await failure(odd.providers.get("openai").start(request(**IMAGE)), "passwd")).code == code


async def test_an_answer_has_bounds(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.features.generation.providers.api.ANSWER_MAX", 1_000)
    odd.answers(body=orjson.dumps({"data": [{"b64_json": PNG * 100}]}))
    error = await failure(odd.providers.get("openai").start(request(**IMAGE)))
    assert (error.code, error.permanent) == ("too_large", True)


async def test_a_redirect_is_not_followed_with_our_key(odd: Odd) -> None:
    odd.answers(status=307, headers={"Location": f"{odd.base}/elsewhere"})
    assert (await failure(odd.providers.get("openai").start(request(**CHAT)))).code == "bad"
    assert len(odd.asked) == 1


def linked(odd: Odd, serve: Any) -> None:
    """An image that is at an address, and how that is served."""

    async def handle(asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST":
            return web.json_response({"data": [{"url": f"{odd.base}/file"}]})
        answer: web.StreamResponse = await serve(asked)
        return answer

    odd.handle = handle


async def test_a_file_is_fetched_without_our_key_and_known_by_its_beginning(odd: Odd) -> None:
    async def serve(asked: web.Request) -> web.StreamResponse:
        if asked.path == "/file":
            raise web.HTTPFound("/moved")
        return web.Response(body=b"\xff\xd8\xff\xe0 jpeg", content_type="text/html")

    linked(odd, serve)
    made = await odd.providers.get("openai").start(request(**LINK))
    assert made.file is not None
    assert (made.file.name, made.file.media_type) == ("made.jpg", "image/jpeg")
    assert [method for method, _, headers in odd.asked if KEY in headers.get("Authorization", "")] == ["POST"]


async def test_a_file_has_bounds(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_MAX", 1_000)

    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 1_001)

    linked(odd, serve)
    error = await failure(odd.providers.get("openai").start(request(**LINK)))
    assert (error.code, error.permanent) == ("too_large", True)


@pytest.mark.parametrize(("status", "code"), [(404, "lost"), (403, "lost"), (500, "broken"), (429, "broken")])
async def test_a_file_that_is_not_there(odd: Odd, status: int, code: str) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    linked(odd, serve)
    error = await failure(odd.providers.get("openai").start(request(**LINK)))
    assert (error.code, error.permanent) == (code, code == "lost")


async def test_a_file_that_is_always_elsewhere(odd: Odd) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/file")

    linked(odd, serve)
    error = await failure(odd.providers.get("openai").start(request(**LINK)))
    assert (error.code, error.permanent) == ("unreadable", True)
    assert len(odd.asked) <= 2 + files.REDIRECTS_MAX


async def test_there_is_nothing_to_check_or_to_cancel(makers: Makers) -> None:
    openai = makers.get("openai")
    error = await failure(openai.check(request(**CHAT), "x"))
    assert (error.code, error.permanent) == ("lost", True)
    await openai.cancel(request(**CHAT), "x")
    assert not len(makers.sandbox.calls)


def measured(outcome: str) -> float:
    labels = {"provider": "openai", "operation": POST_CHAT, "outcome": outcome}
    return metrics.REGISTRY.get_sample_value("ballast_upstream_seconds_count", labels) or 0


async def test_every_call_is_measured(makers: Makers, caplog: pytest.LogCaptureFixture) -> None:
    before = {outcome: measured(outcome) for outcome in ("ok", "refused", "unclear")}
    openai = makers.get("openai")
    with caplog.at_level("DEBUG", "generation"):
        await openai.start(request(**CHAT))
        makers.sandbox.faults.fail(POST_CHAT, status=400)
        await failure(openai.start(request(**CHAT)))
        makers.sandbox.faults.fail(POST_CHAT, status=500)
        await failure(openai.start(request(**CHAT)))
    assert {outcome: measured(outcome) - count for outcome, count in before.items()} == dict.fromkeys(before, 1)
    lines = [record for record in caplog.records if record.name == "generation"]
    assert len(lines) == 3
    assert not [one for one in (KEY, PROMPT, makers.base) if one in repr([line.__dict__ for line in lines])]


def test_without_an_address_it_is_not_there() -> None:
    found = opened(object(), "", Clock(), GENERATION_API_KEY="")
    assert ("local" in found, "openai" in found, "task" in found) == (True, False, False)
