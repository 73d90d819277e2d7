"""Exceptions reach Sentry without anything of people or of secrets, and nobody waits for it."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service import errors
from service.kernel import log as logs
from service.kernel.database import DatabaseSettings
from service.kernel.log import Log, reports
from service.kernel.log.reports import reported

log = Log("planted")
PROMPT = "my most private wish"
TOKEN = "123456789:AAF-abcdefghijklmnopqrstuvwxyz_0123"


class Sentry(ThreadingHTTPServer):
    """Takes envelopes, and keeps the events in them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ear)
        self.raw: list[str] = []
        self.answers_after_s = 0.0

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self.server_port}/1"

    @property
    def events(self) -> list[dict[str, Any]]:
        """An envelope is lines of JSON: its header, an item's header, the item."""
        return [json.loads(line) for raw in self.raw for line in raw.splitlines() if '"exception"' in line]


class Ear(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.raw.append(body.decode())
        time.sleep(self.server.answers_after_s)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    server = Sentry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("INFO", "text", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def raised(error: Exception) -> Exception:
    try:
        secret = PROMPT  # noqa: F841  # what a variable holds does not go out
        raise error
    except Exception as caught:
        return caught


def test_an_exception_goes_out_with_its_place_and_the_release(sentry: Sentry) -> None:
    name = logs.request_id.set("r-7")
    with reported(sentry.dsn, environment="production"):
        log.exception("work broke", raised(ZeroDivisionError("division")), job_id="0f", tries=3)
    logs.request_id.reset(name)
    (event,) = sentry.events
    assert (event["level"], event["logger"], event["environment"]) == ("error", "planted", "production")
    assert event["release"].startswith("ballast@")
    assert event["logentry"]["formatted"] == "work broke"
    assert event["extra"] == {"job_id": "0f", "tries": 3}
    assert event["tags"] == {"request_id": "r-7"}
    (exception,) = event["exception"]["values"]
    assert exception["type"] == "ZeroDivisionError"
    assert exception["stacktrace"]["frames"][-1]["function"] == "raised"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"invalid input for query argument $7: '{PROMPT}'"),
        errors.Upstream(f"400: cannot draw {PROMPT}"),
        OSError(f"Connect call failed ('db.example.org', 5432) for {TOKEN}, {PROMPT}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_of_people_and_no_secret(sentry: Sentry, error: Exception) -> None:
    logs.hide("hush-hush")
    settings = DatabaseSettings("postgresql://worker:hush-hush@db.example.org:5432,[::1]:5433/ballast")
    assert settings.hosts == ("db.example.org", "::1")
    with reported(sentry.dsn, environment="production", hosts=settings.hosts):
        error.__cause__ = KeyError(PROMPT)
        log.exception(
            "work broke at db.example.org", raised(error), reason=f"no {PROMPT}", key="hush-hush", token=TOKEN
        )
    assert len(sentry.events) == 1
    for word in (PROMPT, "db.example.org", TOKEN, "AAF-", "hush-hush", socket.gethostname(), "abs_path", '"vars"'):
        assert word not in "".join(sentry.raw), word
    assert {"request", "user", "breadcrumbs", "modules"}.isdisjoint(sentry.events[0])


def test_our_own_words_go_out_cleaned(sentry: Sentry) -> None:
    with reported(sentry.dsn, environment="production"):
        log.exception("job failed", raised(errors.Conflict("The row is locked, password=hush.")))
    (exception,) = sentry.events[0]["exception"]["values"]
    assert exception["value"] == "The row is locked, password=***"


def test_of_somebody_elses_line_only_its_template(sentry: Sentry) -> None:
    """asyncio shows a task whose exception nobody took with all that the exception says."""
    with reported(sentry.dsn, environment="production"):
        text = f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{PROMPT}')>"
        logging.getLogger("asyncio").error(text, exc_info=raised(ValueError(PROMPT)))
        logging.getLogger("aiohttp.web").error("failed on %s", PROMPT, exc_info=raised(ValueError()))
    said = [event["logentry"]["formatted"] for event in sentry.events]
    assert said == ["Task exception was never retrieved", "failed on %s"]
    assert PROMPT not in "".join(sentry.raw)


def test_what_is_no_exception_stays_here(sentry: Sentry) -> None:
    with reported(sentry.dsn, environment="production"):
        log.error("payment to review", event_id=1)
        logging.getLogger("planted").warning("odd", exc_info=raised(ValueError()))
    log.exception("after the end", raised(ValueError()))
    with reported(None, environment="production"):
        log.exception("without a DSN", raised(ValueError()))
    assert sentry.raw == []


def test_a_storm_is_told_once(sentry: Sentry, stream: io.StringIO) -> None:
    with reported(sentry.dsn, environment="production"):
        for number in range(reports.MOST_PER_MINUTE + 20):
            log.exception("storm", raised(ValueError()), number=number)
    assert len(sentry.events) == reports.MOST_PER_MINUTE
    assert stream.getvalue().count("planted: storm") == reports.MOST_PER_MINUTE + 20


def test_with_nobody_there_nobody_waits(stream: io.StringIO) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with reported(f"http://key@127.0.0.1:{port}/1", environment="production"):
        log.exception("away", raised(ValueError()))
        assert time.monotonic() - started < 1
    assert time.monotonic() - started < reports.FLUSH_S + 1
    assert "planted: away" in stream.getvalue()


def test_a_slow_one_holds_up_a_stop_for_two_seconds_at_most(sentry: Sentry) -> None:
    sentry.answers_after_s = 10
    started = time.monotonic()
    with reported(sentry.dsn, environment="production"):
        for _ in range(5):
            log.exception("slow", raised(ValueError()))
        assert time.monotonic() - started < 1
    assert time.monotonic() - started < reports.FLUSH_S + 1


def test_a_report_that_cannot_be_made_fails_nobody(sentry: Sentry, stream: io.StringIO) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ZeroDivisionError

    with reported(sentry.dsn, environment="production"):
        log.exception("odd", raised(ValueError()), field=Odd())
        log.exception("fine", raised(ValueError()))
    assert [event["logentry"]["formatted"] for event in sentry.events] == ["fine"]


def test_a_process_tells_before_it_ends(sentry: Sentry) -> None:
    """The command that serves, as it is started, until its loop has ended."""
    code = (
        "from service import process\n"
        "from service.config import load\n"
        "from service.kernel.log import Log\n"
        "async def life(config):\n"
        "    try:\n        raise ValueError\n    except ValueError:\n        Log('planted').exception('at the end')\n"
        f"process._live(load({{'DATABASE_URL': 'postgresql://db/x', 'SENTRY_DSN': {sentry.dsn!r}}}), life)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
    assert [event["logentry"]["formatted"] for event in sentry.events] == ["at the end"]
