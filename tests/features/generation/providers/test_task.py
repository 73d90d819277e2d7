"""Predictions, against the stand-in and against servers that misbehave."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from io import BytesIO
from typing import Any
from uuid import uuid4

import orjson
import pytest
from PIL import Image

from service.features.generation.providers import task
from service.features.generation.providers.provider import Output, Pending, ProviderFailed
from service.kernel.clock import Clock
from service.sandbox.generation import FAILED, REFUSED
from tests.features.generation.providers.makers import PROMPT, Makers, Odd, failure, opened, request
from tests.waiting import until

FINE = {"version": "acme/fine", "input": {"steps": 4}}
WORDS = {"version": "acme/text-model"}
CREATE = "POST /predictions"
LOOK = "GET /predictions/{id}"


async def begun(makers: Makers, prompt: str = PROMPT, **more: Any) -> tuple[Any, str]:
    asked = request(prompt, **{**FINE, **more})
    pending = await makers.get("task").start(asked)
    assert isinstance(pending, Pending)
    return asked, pending.reference


async def test_it_begins_and_takes_its_time(makers: Makers) -> None:
    asked = request(**FINE, callback=makers.callback, timeout_s=600)
    pending = await makers.get("task").start(asked)
    (prediction,) = makers.sandbox.predictions
    assert pending == Pending(prediction.id, task.CHECK_AFTER_S, 0)
    (call,) = makers.sandbox.calls.of(CREATE)
    assert call.key == str(asked.job_id)
    assert orjson.loads(call.body) == {
        "version": "acme/fine",
        "input": {"steps": 4, "prompt": PROMPT},
        "webhook": makers.callback,
        "webhook_events_filter": ["completed"],
    }


async def test_without_an_address_nobody_is_to_call(makers: Makers) -> None:
    await makers.get("task").start(request(**WORDS))
    (call,) = makers.sandbox.calls.of(CREATE)
    assert orjson.loads(call.body) == {"version": "acme/text-model", "input": {"prompt": PROMPT}}


async def test_begun_twice_it_is_one(makers: Makers) -> None:
    job_id = uuid4()
    first = await makers.get("task").start(request(**FINE, job_id=job_id))
    assert await makers.get("task").start(request(**FINE, job_id=job_id)) == first
    assert len(makers.sandbox.predictions) == 1


async def test_progress_and_a_picture(makers: Makers) -> None:
    asked, reference = await begun(makers)
    makers.sandbox.advance(reference, 40)
    assert await makers.get("task").check(asked, reference) == Pending(reference, task.CHECK_AFTER_S, 40)
    makers.sandbox.finish(reference)
    made = await makers.get("task").check(asked, reference)
    assert isinstance(made, Output)
    assert made.file is not None
    assert made.file.media_type == "image/png"
    with Image.open(BytesIO(made.file.body)) as picture:
        assert picture.format == "PNG"
    assert await makers.get("task").check(asked, reference) == made, "whoever lost it asks again"


async def test_words_come_in_pieces(makers: Makers) -> None:
    asked, reference = await begun(makers, "Привет", **WORDS)
    makers.sandbox.finish(reference)
    made = await makers.get("task").check(asked, reference)
    assert isinstance(made, Output)
    assert made.text is not None
    assert made.text.startswith("Вы написали: «Привет». Это acme/text-model")


async def test_the_end_is_called_back_until_somebody_listens(makers: Makers) -> None:
    asked = request(**FINE, callback=makers.callback)
    pending = await makers.get("task").start(asked)
    assert isinstance(pending, Pending)
    makers.statuses = [503]
    makers.sandbox.finish(pending.reference)
    await until(lambda: len(makers.called) == 2)
    assert [one["status"] for one in makers.called] == ["succeeded", "succeeded"]
    await until(lambda: makers.sandbox.predictions[0].called == [503, 200])


@pytest.mark.parametrize(("word", "code"), [(REFUSED, "refused"), (FAILED, "failed")])
async def test_it_may_fail_for_good(makers: Makers, word: str, code: str) -> None:
    asked, reference = await begun(makers, f"something {word}")
    makers.sandbox.finish(reference)
    error = await failure(makers.get("task").check(asked, reference), word)
    assert (error.code, error.permanent) == (code, True)
    assert error.message == ("the model refused" if word == REFUSED else "the model failed E1000")


async def test_it_is_cancelled_once_or_twice(makers: Makers) -> None:
    asked, reference = await begun(makers)
    for _ in range(2):
        await makers.get("task").cancel(asked, reference)
    error = await failure(makers.get("task").check(asked, reference))
    assert (error.code, error.permanent) == ("cancelled", True)


async def test_what_is_gone_needs_no_cancelling(makers: Makers) -> None:
    await makers.get("task").cancel(request(**FINE), "gone")
    error = await failure(makers.get("task").check(request(**FINE), "gone"))
    assert (error.code, error.permanent) == ("lost", True)


async def test_a_cancel_that_nobody_hears_is_told(makers: Makers) -> None:
    asked, reference = await begun(makers)
    makers.sandbox.faults.fail("POST /predictions/{id}/cancel", status=500, times=3)
    assert not (await failure(makers.get("task").cancel(asked, reference))).permanent
    makers.sandbox.faults.fail("POST /predictions/{id}/cancel", status=401)
    assert (await failure(makers.get("task").cancel(asked, reference))).code == "unauthorized"


@pytest.mark.parametrize("reference", ["", "..", "a/b", "a?b=c", "a b", "a%2Fb", "a\n", "ю", "x" * 256])
async def test_a_reference_cannot_lead_elsewhere(makers: Makers, reference: str) -> None:
    asked = request(**FINE)
    for work in (makers.get("task").check(asked, reference), makers.get("task").cancel(asked, reference)):
        with pytest.raises(ProviderFailed):
            await work
    assert not [call for call in makers.sandbox.calls if call.status == 200]
    assert not makers.sandbox.predictions


async def test_looking_again_is_safe(makers: Makers) -> None:
    asked, reference = await begun(makers)
    makers.sandbox.faults.fail(LOOK, status=500)
    makers.sandbox.faults.drop(LOOK)
    assert isinstance(await makers.get("task").check(asked, reference), Pending)
    assert [call.status for call in makers.sandbox.calls.of(LOOK)] == [500, 0, 200]


async def test_beginning_again_is_not_ours_to_do(makers: Makers) -> None:
    """The queue does, later: by then the provider may tell by the key that it is the same."""
    makers.sandbox.faults.drop(CREATE, after=True)
    asked = request(**FINE)
    error = await failure(makers.get("task").start(asked))
    assert (error.code, error.permanent) == ("no_answer", False)
    assert isinstance(await makers.get("task").start(asked), Pending)
    assert len(makers.sandbox.predictions) == 1


async def test_too_many_starts(makers: Makers) -> None:
    asked, reference = await begun(makers)
    makers.sandbox.faults.flood(CREATE)
    makers.sandbox.told_to_wait(format_datetime(Clock().now() + timedelta(seconds=30), usegmt=True))
    error = await failure(makers.get("task").start(request(**FINE)))
    assert error.retry_after is not None
    assert 25 < error.retry_after <= 30
    assert (await failure(makers.get("task").start(request(**FINE)))).code == "rate_limited"
    assert len(makers.sandbox.calls.of(CREATE)) == 2
    assert isinstance(await makers.get("task").check(asked, reference), Pending), "looking is another limit"


async def test_a_wrong_catalogue_is_wrong_for_good(makers: Makers) -> None:
    error = await failure(makers.get("task").start(request(version="?")))
    assert (error.code, error.permanent) == ("bad", True)


@pytest.mark.parametrize(
    ("said", "percent"),
    [
        ({}, None),
        ({"logs": None}, None),
        ({"logs": "  0%|  | 0/50\r 42%|##| 21/50"}, 42),
        ({"logs": "loss 12.5% then 99.9%"}, 99),
        ({"logs": "at 250% of 1000%"}, None),
        ({"logs": "100%"}, 100),
        ({"progress": 0.25, "logs": "90%"}, 25),
        ({"progress": 60}, 60),
        ({"progress": {"percentage": 0.5}}, 50),
        ({"progress": -1}, None),
        ({"progress": "half"}, None),
        ({"progress": True}, None),
    ],
)
async def test_progress_where_it_is_told(odd: Odd, said: dict[str, Any], percent: int | None) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": "processing", **said}))
    pending = await odd.providers.get("task").check(request(**FINE), "p1")
    assert pending == Pending("p1", task.CHECK_AFTER_S, percent)


@pytest.mark.parametrize("status", ["starting", "processing", "queued", "booting", ""])
async def test_an_unknown_state_is_waited_for(odd: Odd, status: str) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": status}))
    assert isinstance(await odd.providers.get("task").check(request(**FINE), "p1"), Pending)


@pytest.mark.parametrize(
    ("output", "code", "permanent"),
    [
        (None, "unreadable", True),
        ([], "unreadable", True),
        ({"a": 1}, "unreadable", True),
        ([1], "unreadable", True),
        (["x", None], "unreadable", True),
        ("", "empty", True),
        ([" ", "\n"], "empty", True),
        ("data:image/png;base64,?", "unreadable", False),
        ("data:image/png;base64,", "empty", False),
        ("http://127.0.0.1:1/x.png", "unreachable", False),
    ],
)
async def test_an_output_that_is_none(odd: Odd, output: Any, code: str, permanent: bool) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": "succeeded", "output": output}))
    error = await failure(odd.providers.get("task").check(request(**FINE), "p1"))
    assert (error.code, error.permanent) == (code, permanent)


@pytest.mark.parametrize(
    ("output", "made"),
    [
        ("one text", "one text"),
        (["one", " ", "text"], "one text"),
        ("httpd is a server", "httpd is a server"),
    ],
)
async def test_an_output_of_words(odd: Odd, output: Any, made: str) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": "succeeded", "output": output}))
    assert await odd.providers.get("task").check(request(**FINE), "p1") == Output(text=made)


@pytest.mark.parametrize(
    ("output", "name", "media_type"),
    [
        ("data:video/mp4;base64,AAAA", "made.mp4", "video/mp4"),
        (["data:audio/ogg;codecs=opus;base64,AAAA", "data:image/png;base64,AAAA"], "made.ogg", "audio/ogg"),
        ("data:image/png;base64,UklGRgAAAABXRUJQ", "made.webp", "image/webp"),
        ("data:?;base64,AAAA", "made.bin", "application/octet-stream"),
    ],
)
async def test_an_output_within_the_answer(odd: Odd, output: Any, name: str, media_type: str) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": "succeeded", "output": output}))
    made = await odd.providers.get("task").check(request(**FINE), "p1")
    assert isinstance(made, Output)
    assert made.file is not None
    assert (made.file.name, made.file.media_type) == (name, media_type)


async def test_done_at_once(odd: Odd) -> None:
    """A provider may answer with the result."""
    odd.answers(body=b'{"id": "p1", "status": "succeeded", "output": "done"}', status=201)
    assert await odd.providers.get("task").start(request(**FINE, timeout_s=90)) == Output(text="done")
    assert odd.asked[0][2]["Cancel-After"] == "90s"


@pytest.mark.parametrize("error", [None, "CUDA out of memory", "of " + PROMPT, {"detail": PROMPT}, ["x"]])
async def test_what_a_model_says_of_its_failure_is_not_repeated(odd: Odd, error: Any) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": "failed", "error": error}))
    found = await failure(odd.providers.get("task").check(request(**FINE), "p1"))
    assert (found.code, found.message) == ("failed", "the model failed")


@pytest.mark.parametrize("status", ["canceled", "aborted"])
async def test_the_provider_may_cancel(odd: Odd, status: str) -> None:
    odd.answers(body=orjson.dumps({"id": "p1", "status": status}))
    error = await failure(odd.providers.get("task").check(request(**FINE), "p1"))
    assert (error.code, error.permanent) == ("cancelled", True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"id": 5, "status": "x"}', b'{"id": "p1", "status": null}'])
async def test_an_answer_that_cannot_be_read(odd: Odd, body: bytes) -> None:
    odd.answers(body=body)
    error = await failure(odd.providers.get("task").check(request(**FINE), "p1"))
    assert (error.code, error.permanent) == ("unreadable", False)


async def test_an_id_that_is_none_is_no_reference(odd: Odd) -> None:
    odd.answers(body=b'{"id": "../account", "status": "starting"}')
    assert (await failure(odd.providers.get("task").start(request(**FINE)))).code == "unreadable"


async def test_half_an_answer(odd: Odd) -> None:
    odd.breaks_off(after=b'{"id": "p1"')
    assert (await failure(odd.providers.get("task").check(request(**FINE), "p1"))).code == "no_answer"
    assert len(odd.asked) == 3, "looking again is safe"


async def test_without_a_key_it_is_not_there(makers: Makers) -> None:
    found = opened(makers.session, f"{makers.base}/v1", Clock(), PREDICTIONS_API_KEY="")
    assert ("task" in found, "openai" in found) == (False, True)
    with pytest.raises(ProviderFailed) as caught:
        found.get("task")
    error = caught.value
    assert (error.code, error.permanent) == ("not_configured", True)
