"""Predictions as Replicate has them: they begin, take their time, end, and call whoever is to be called.

It knows a prediction's states; it must not know HTTP servers. Unlike the real one it takes a webhook without TLS,
and knows an Idempotency-Key. https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from service.sandbox.generation.completions import picture_url
from service.sandbox.generation.wording import FAILED, is_refused, replicate_error, reply
from service.sandbox.processors.api import Answer, Ask, Json, Refused, new_uuid

VERSION = re.compile(r"[0-9a-f]{64}|[a-z0-9._-]+/[a-z0-9._-]+(:[0-9a-f]{64})?")
EVENTS = frozenset({"start", "output", "logs", "completed"})
DEADLINE = re.compile(r"[1-9][0-9]{0,6}[smh]")
ENDED = frozenset({"succeeded", "failed", "canceled"})
STEPS = 10
# Seconds between tries to call back: the first goes out at once.
CALL_AGAIN_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
CALL_TIMEOUT_S = 10.0


@dataclass(slots=True, eq=False)
class Prediction:
    """One of them, and how often its end was told: `called` has the status of every try, 0 for no answer."""

    version: str
    input: Json
    webhook: str | None
    get_url: str
    picture: str
    created_at: float
    id: str = field(default_factory=lambda: new_uuid().replace("-", "")[:26])
    status: str = "starting"
    percent: int = 0
    output: Any = None
    error: str | None = None
    called: list[int] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        return str(self.input.get("prompt", ""))

    def wire(self) -> Json:
        """https://replicate.com/docs/reference/http#predictions.get"""
        here = f"{self.get_url}/{self.id}"
        return {
            "id": self.id,
            "model": self.version.partition(":")[0],
            "version": self.version,
            "input": self.input,
            "logs": "".join(f"{at}%|{'#' * (at // 10)}| {at // 10}/10\n" for at in range(0, self.percent + 1, 10)),
            "output": self.output,
            "error": self.error,
            "status": self.status,
            "created_at": datetime.fromtimestamp(self.created_at, UTC).isoformat(),
            "urls": {"get": here, "cancel": f"{here}/cancel"},
        }


class Predictions:
    """All of them. takes_s: until each ends; None: until it is told to."""

    def __init__(self, takes_s: float | None, clock: Callable[[], float]) -> None:
        self._takes_s, self._clock = takes_s, clock
        self._by_id: dict[str, Prediction] = {}
        self._by_key: dict[str, Prediction] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> list[Prediction]:
        return list(self._by_id.values())

    def create(self, ask: Ask) -> Answer:
        """POST /predictions. The same Idempotency-Key is the same prediction."""
        body = _body(ask)
        key = ask.headers.get("idempotency-key", "")
        if key not in self._by_key:
            prediction = self._made(ask, body)
            self._by_id[prediction.id] = prediction
            if not key:
                return Answer(prediction.wire(), 201)
            self._by_key[key] = prediction
        return Answer(self._by_key[key].wire(), 201)

    def get(self, ask: Ask) -> Answer:
        """GET /predictions/{id}."""
        return Answer(self._known(ask).wire())

    def cancel(self, ask: Ask) -> Answer:
        """POST /predictions/{id}/cancel. What has ended stays as it is."""
        prediction = self._known(ask)
        if prediction.status not in ENDED:
            prediction.status = "canceled"
            self._told(prediction)
        return Answer(prediction.wire())

    def advance(self, prediction_id: str, percent: int) -> None:
        prediction = self._by_id[prediction_id]
        if prediction.status not in ENDED:
            prediction.status, prediction.percent = "processing", percent

    def finish(self, prediction_id: str) -> None:
        prediction = self._by_id[prediction_id]
        if prediction.status in ENDED:
            return
        prediction.status, prediction.percent = "succeeded", 100
        if is_refused(prediction.prompt):
            prediction.status, prediction.error = "failed", "NSFW content detected. Try a different prompt. (E005)"
        elif FAILED in prediction.prompt.lower():
            prediction.status, prediction.error = "failed", "Prediction failed for an unknown reason (E1000)"
        elif "text" in prediction.version:
            prediction.output = re.findall(r"\S+\s*", reply(prediction.version, prediction.prompt))
        else:
            prediction.output = [prediction.picture]
        self._told(prediction)

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _made(self, ask: Ask, body: Json) -> Prediction:
        prediction = Prediction(
            version=body["version"],
            input=body["input"],
            webhook=body.get("webhook"),
            get_url=f"{ask.here}/v1/predictions",
            picture=picture_url(ask, body["input"]["prompt"]),
            created_at=self._clock(),
        )
        if self._takes_s is not None:
            self._soon(self._work(prediction, self._takes_s))
        return prediction

    def _known(self, ask: Ask) -> Prediction:
        if ask.id not in self._by_id:
            raise Refused(replicate_error(404, "Not found", "The requested resource could not be found."))
        return self._by_id[ask.id]

    async def _work(self, prediction: Prediction, takes_s: float) -> None:
        for step in range(STEPS):
            await asyncio.sleep(takes_s / STEPS)
            self.advance(prediction.id, step * 100 // STEPS)
        self.finish(prediction.id)

    def _told(self, prediction: Prediction) -> None:
        if prediction.webhook:
            self._soon(_call(prediction, prediction.webhook))

    def _soon(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _call(prediction: Prediction, webhook: str) -> None:
    """Until somebody says 2xx. https://replicate.com/docs/topics/webhooks/receive-webhook"""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)) as http:
        for wait in CALL_AGAIN_S:
            await asyncio.sleep(wait)
            try:
                async with http.post(webhook, json=prediction.wire(), allow_redirects=False) as response:
                    prediction.called.append(response.status)
            except (aiohttp.ClientError, TimeoutError):
                prediction.called.append(0)
            if 200 <= prediction.called[-1] < 300:
                return


def _body(ask: Ask) -> Json:
    try:
        body = orjson.loads(ask.body)
    except orjson.JSONDecodeError:
        raise Refused(replicate_error(400, "Bad request", "The body is not JSON.")) from None
    fault = _fault(body) if isinstance(body, dict) else "the body is no object"
    deadline = ask.headers.get("cancel-after")
    if deadline is not None and not DEADLINE.fullmatch(deadline):
        fault = "Cancel-After is no duration"
    if fault:
        raise Refused(replicate_error(422, "Input validation failed", fault))
    assert isinstance(body, dict)
    return body


def _fault(body: Json) -> str:
    version, given, webhook = body.get("version"), body.get("input"), body.get("webhook")
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        return "version does not exist or you do not have permission"
    if not isinstance(given, dict) or not isinstance(given.get("prompt"), str) or not given["prompt"]:
        return "input: prompt is required"
    if webhook is not None and not (isinstance(webhook, str) and urlsplit(webhook).scheme in ("http", "https")):
        return "webhook: must be an address"
    events = body.get("webhook_events_filter", [])
    return "" if isinstance(events, list) and EVENTS.issuperset(map(str, events)) else "webhook_events_filter"
