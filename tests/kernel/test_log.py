import asyncio
import io
import logging
import os
import time
from collections.abc import Callable, Iterator

import orjson
import pytest

from service.kernel import log as logs
from service.kernel.log import Log, RateLimited
from service.kernel.log.mask import mask
from service.kernel.log.sink import MOST_WAITING, Sink

TOKEN = "123456789:AAF-abcdefghijklmnopqrstuvwxyz_0123"


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    return stream


def only_line(stream: io.StringIO) -> dict[str, object]:
    [line] = stream.getvalue().splitlines()
    return dict(orjson.loads(line))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


def test_a_line_is_one_json_object(stream: io.StringIO) -> None:
    Log("telegram").info("update handled", update_id=7, route="start", money=None)
    line = only_line(stream)
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "INFO", "room": "telegram", "msg": "update handled", "update_id": 7, "route": "start",
        "money": None,
    }  # fmt: skip


def test_the_request_id_goes_into_every_line(stream: io.StringIO) -> None:
    token = logs.request_id.set("r-1")
    logging.getLogger("asyncpg").warning("from %s", "elsewhere")
    logs.request_id.reset(token)
    line = only_line(stream)
    assert (line["request_id"], line["msg"], line["room"]) == ("r-1", "from elsewhere", "asyncpg")


def test_what_is_below_the_level_costs_no_line(stream: io.StringIO) -> None:
    Log("telegram").debug("seen")
    logging.getLogger("aiohttp.access").info("GET /")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("value", [2**70, "\ud800", {1: 2}, object()])
def test_no_value_can_break_a_line(stream: io.StringIO, value: object) -> None:
    Log("telegram").info("odd", value=value)
    assert only_line(stream)["msg"] in ("odd", "'odd'")


def test_a_broken_record_of_a_library_is_named(stream: io.StringIO) -> None:
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if type(one).__module__ == logs.__name__]  # pytest's raise
    logging.getLogger("library").warning("%d", "not a number")
    assert stream.getvalue() == "a log line of library could not be written: TypeError\n"


def test_text_is_one_line_whatever_is_in_it() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "text", stream)
    Log("telegram").info("update handled", route="start", text="two\nlines", empty="", name="two words")
    assert stream.getvalue().endswith(
        'telegram: update handled  route=start text="two\\nlines" empty="" name="two words"\n'
    )


def test_an_exception_brings_its_traceback(stream: io.StringIO) -> None:
    try:
        raise RuntimeError(f"https://api.telegram.org/bot{TOKEN}/getMe refused")
    except RuntimeError:
        Log("telegram").exception("call failed", method="getMe")
    trace = str(only_line(stream)["traceback"])
    assert "test_an_exception_brings_its_traceback" in trace
    assert "bot123456789:***/getMe refused" in trace


def test_an_exception_of_another_task_can_be_given(stream: io.StringIO) -> None:
    Log("jobs").exception("job failed", ValueError("no"), job="prune")
    assert "ValueError: no" in str(only_line(stream)["traceback"])


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (f"POST /bot{TOKEN}/sendMessage", "POST /bot123456789:***/sendMessage"),
        ("postgresql://owner:pa@ss@db:5432/x", "postgresql://***@db:5432/x"),
        ('{"a":"postgres://o:p@h/x","b":"me@home"}', '{"a":"postgres://***@h/x","b":"me@home"}'),
        ("postgresql+asyncpg://o:p@h/x", "postgresql+asyncpg://***@h/x"),
        ("host=db password=hush dbname=x", "host=db password=*** dbname=x"),
        ("postgresql:///x?user=o&password=hush&port=1", "postgresql:///x?user=o&password=***&port=1"),
        ('{"ts":"2026-11-20T10:00:00Z","update_id":123456789}',) * 2,
    ],
)
def test_masks(line: str, masked: str) -> None:
    assert mask(line) == masked


def test_a_hidden_secret_is_masked_in_every_spelling() -> None:
    logs.hide('pa"ss wörd/1', 'pa"ss wörd/1 and more', "short")
    assert mask('pa"ss wörd/1') == "***"
    assert mask(orjson.dumps('pa"ss wörd/1').decode()) == '"***"'
    assert mask("pa%22ss%20w%C3%B6rd%2F1") == "***"
    assert mask('pa"ss wörd/1 and more') == "***"
    assert mask("a short line") == "a short line"


async def test_lines_are_gathered_while_a_loop_runs(stream: io.StringIO) -> None:
    for number in range(100):
        Log("telegram").info("update handled", number=number)
    assert stream.getvalue() == ""
    await until(lambda: stream.getvalue().count("\n") == 100)


async def test_a_warning_is_written_at_once_with_what_came_before(stream: io.StringIO) -> None:
    Log("telegram").info("first")
    Log("telegram").warning("second")
    assert [orjson.loads(line)["msg"] for line in stream.getvalue().splitlines()] == ["first", "second"]


async def test_flush_writes_what_is_gathered(stream: io.StringIO) -> None:
    Log("telegram").info("last words")
    logs.flush()
    assert only_line(stream)["msg"] == "last words"


def test_a_later_loop_gathers_too(stream: io.StringIO) -> None:
    async def say(word: str) -> None:
        Log("telegram").info(word)

    asyncio.run(say("first"))  # ends before its lines were due
    asyncio.run(_say_and_wait(stream, "second"))
    assert stream.getvalue().count("\n") == 2


async def _say_and_wait(stream: io.StringIO, word: str) -> None:
    Log("telegram").info(word)
    await until(lambda: word in stream.getvalue())


def test_a_reader_that_stopped_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as pipe:
        sink = Sink(pipe)
        started = time.monotonic()
        for _ in range(3 * MOST_WAITING // 1000):
            sink.push(b"x" * 999)
            sink.drain()
        assert time.monotonic() - started < 5.0  # a write that blocks would not come back at all
        assert sink.dropped > 0
        assert sink.take_dropped() == 0  # there is no room yet to say so
        kept = b""
        while not sink.drain():
            kept += reader.read(1 << 16)
        assert sink.take_dropped() > 0
    assert set(kept.splitlines()[:-1]) == {b"x" * 999}


def test_a_reader_that_went_away_is_forgotten() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        sink = Sink(pipe)
        sink.push(b"nobody listens")
        assert sink.drain()


def test_a_storm_is_one_line_and_a_count(stream: io.StringIO) -> None:
    now = 100.0
    slow = RateLimited("database", 10.0, now=lambda: now)
    for _ in range(5):
        slow.warning("slow query", key="users.get_user", ms=30)
    slow.warning("slow query", key="users.list_users", ms=40)
    now = 110.0
    slow.warning("slow query", key="users.get_user", ms=50)
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["ms"], line.get("left_out")) for line in lines] == [(30, None), (40, None), (50, 4)]
