"""Exceptions that are logged, told to Sentry as well: where they happened, and nothing of whom they happened to.

It knows how a record becomes a report and what must not be in one; it knows no room. The words of an exception go out
only where they are our own: a driver's may quote a row, a provider's what a person wrote. The log has all of them, and
a report names its request. https://develop.sentry.dev/sdk/data-model/event-payloads/
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sentry_sdk import Client
from sentry_sdk.utils import event_from_exception

import service
from service.kernel import log as logs
from service.kernel.log.cleaning import clean
from service.kernel.log.mask import MASK, mask

# Of the seconds that a stop may take.
FLUSH_S = 2.0
# Making a report takes a millisecond of everybody's time; of a storm the first tell it all.
MOST_PER_MINUTE = 30
# A field that is one word was written by the code: a route, a code, an id.
WORD = re.compile(r"[\w./:{}-]{1,200}")
OURS = "service.errors"
QUOTES_OTHERS = "Upstream"
# Where the machine keeps things, and what variables held.
LEFT_OUT_OF_FRAMES = ("abs_path", "vars")


class Reports:
    """Hands reports to a thread that sends them; when Sentry is away, or slow, they are dropped."""

    def __init__(self, dsn: str, *, environment: str, hosts: Collection[str] = ()) -> None:
        self._hosts = re.compile("|".join(rf"(?<![\w.-]){re.escape(host)}(?![\w-])" for host in hosts) or r"(?!)")
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # which tells of each try, with the address
        self._sent: deque[float] = deque(maxlen=MOST_PER_MINUTE)
        self._client = Client(
            dsn,
            release=f"ballast@{service.__version__}",
            environment=environment,
            server_name="ballast",
            default_integrations=False,  # they would look into requests, people, modules and the command line
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
        )

    def send(self, record: logging.LogRecord) -> None:
        """Fails nobody, and waits for nothing."""
        with suppress(Exception):  # whatever is wrong with a report, the line is in the log
            if record.levelno >= logging.ERROR and self._may_send():
                self._client.capture_event(self._event(record))

    def close(self) -> None:
        """Wait for what is on its way, for FLUSH_S at most."""
        with suppress(Exception):  # a process that stops has nobody to tell
            self._client.close(timeout=FLUSH_S)

    def _may_send(self) -> bool:
        now = time.monotonic()
        if len(self._sent) == MOST_PER_MINUTE and now - self._sent[0] < 60:
            return False
        self._sent.append(now)
        return True

    def _event(self, record: logging.LogRecord) -> Any:
        fields: Mapping[str, object] | None = getattr(record, "fields", None)
        # What is not ours may have put anything into its arguments, and after its first line.
        said = record.getMessage() if fields is not None else str(record.msg).partition("\n")[0]
        event, _ = event_from_exception(record.exc_info, client_options=self._client.options)  # type: ignore[arg-type]
        for exception in event["exception"]["values"]:
            exception["value"] = self._words_of(exception)
            for frame in (exception.get("stacktrace") or {}).get("frames", ()):
                for name in LEFT_OUT_OF_FRAMES:
                    frame.pop(name, None)
        request = logs.request_id.get()
        return _masked(
            {
                **event,
                "level": "error",
                "logger": record.name,
                "logentry": {"formatted": self._cleaned(said)},
                "extra": {name: self._field(value) for name, value in (fields or {}).items()},
                "tags": {"request_id": request} if request else {},
            }
        )

    def _words_of(self, exception: Mapping[str, Any]) -> str:
        own = exception.get("module") == OURS and exception.get("type") != QUOTES_OTHERS
        return self._cleaned(exception.get("value") or "") if own else ""

    def _field(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        word = str(value)
        return self._cleaned(word) if WORD.fullmatch(word) else MASK

    def _cleaned(self, text: str) -> str:
        return self._hosts.sub(MASK, clean(text))


@contextmanager
def reported(dsn: str | None, *, environment: str, hosts: Collection[str] = ()) -> Iterator[None]:
    """For as long as it lasts; without a DSN nothing is."""
    if dsn is None:
        yield
        return
    reports = Reports(dsn, environment=environment, hosts=hosts)
    logs.report_to(reports.send)
    try:
        yield
    finally:
        logs.report_to(None)
        reports.close()


def _masked(value: Any) -> Any:
    """Every text in it, as a line of the log would be."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {name: _masked(item) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value
