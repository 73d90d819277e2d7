"""Predictions that take their time, by Replicate or whoever speaks as it does. https://replicate.com/docs/reference/http

It knows a prediction's states and what an output can be; it keeps nothing: the queue knows a prediction by its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec

from service.catalog import Params
from service.config import Config
from service.feature import Rooms
from service.features.generation.providers.api import Api, Call, known_id
from service.features.generation.providers.files import fetched, is_address
from service.features.generation.providers.params import checked, table, text
from service.features.generation.providers.provider import Output, Pending, ProviderFailed, Request
from service.features.generation.providers.quiet import Quiet
from service.kernel.clock import Clock

NAME = "task"
# Seconds until the next look. Also with a callback: progress is shown every few seconds, and callbacks get lost.
CHECK_AFTER_S = 3.0
CANCEL_AFTER_LEAST_S = 5  # what Replicate takes at least
PROMPT = "prompt"  # the input that most models take it by
ENDED = frozenset({"not_found", "broken", "bad"})  # how an API says that there is nothing to be cancelled

_PERCENT = re.compile(r"(?<![\d.])(\d{1,2}|100)(?:\.\d+)?%")
_ERROR_CODE = re.compile(r"\b[EP]\d{3,5}\b")
_REFUSED = re.compile(r"nsfw|sensitive|safety|moderat|content policy", re.IGNORECASE)


class Prediction(msgspec.Struct):
    """https://replicate.com/docs/topics/predictions/lifecycle"""

    id: str
    status: str
    output: Any = None
    error: Any = None
    logs: str | None = None
    progress: Any = None


class Task:
    """One endpoint for predictions. Which model is the catalogue's to say."""

    def __init__(self, api: Api) -> None:
        self._api, self._quiet = api, Quiet(api.clock)

    async def start(self, request: Request) -> Output | Pending:
        """https://replicate.com/docs/reference/http#predictions.create - raises ProviderFailed.

        What nobody waits for any more ends by itself, by Cancel-After: a worker may die before it has the id.
        """
        call = Call(
            method="POST",
            path="/predictions",
            json=_asked(request),
            answer=Prediction,
            headers={
                "Idempotency-Key": str(request.job_id),
                "Cancel-After": f"{max(request.model.timeout_s, CANCEL_AFTER_LEAST_S)}s",
            },
        )
        with self._quiet.kept(request.model.params["version"]):
            return await self._now(request, await self._api.send(call))

    async def check(self, request: Request, reference: str) -> Output | Pending:
        """https://replicate.com/docs/reference/http#predictions.get - raises ProviderFailed."""
        try:
            found = await self._api.send(
                Call(method="GET", path="/predictions/{}", id=reference, answer=Prediction, again=True)
            )
        except ProviderFailed as failure:
            if failure.code == "not_found":
                failure.code = "lost"
            raise
        return await self._now(request, found)

    async def cancel(self, request: Request, reference: str) -> None:
        """https://replicate.com/docs/reference/http#predictions.cancel - what has ended or is gone counts as done.

        Raises ProviderFailed.
        """
        path = "/predictions/{}/cancel"
        try:
            await self._api.send(Call(method="POST", path=path, id=reference, answer=Prediction, json={}, again=True))
        except ProviderFailed as failure:
            if not (failure.permanent and failure.code in ENDED):
                raise

    async def _now(self, request: Request, prediction: Prediction) -> Output | Pending:
        """What its state means; one that we do not know is one that may still end well."""
        match prediction.status:
            case "succeeded":
                return await self._output(request, prediction.output)
            case "failed":
                raise _failed(prediction.error)
            case "canceled" | "aborted":
                raise ProviderFailed("cancelled", "the provider cancelled it", permanent=True)
            case _:
                return Pending(known_id(prediction.id), CHECK_AFTER_S, _percent(prediction))

    async def _output(self, request: Request, output: Any) -> Output:
        """An address of a file, the first of several, or text in one piece or in many.

        https://replicate.com/docs/topics/predictions/output-files
        """
        parts = output if isinstance(output, list) else [output]
        if not parts or not all(isinstance(part, str) for part in parts):
            raise ProviderFailed("unreadable", "the output is neither files nor text", permanent=True)
        if is_address(parts[0]):
            return Output(file=await fetched(self._api.session, parts[0], request.model.id))
        said = "".join(parts).strip()
        if not said:
            raise ProviderFailed("empty", "the output is empty", permanent=True)
        return Output(text=said)


def check(params: Params) -> Iterable[str]:
    """The faults of a model's parameters."""
    return checked(params, required={"version": text}, optional={"prompt": text, "input": table})


def configured(rooms: Rooms) -> Task | None:
    """None without PREDICTIONS_API_BASE and PREDICTIONS_API_KEY."""
    config = rooms.of(Config)
    if config.predictions_api_base is None or config.predictions_api_key is None:
        return None
    return Task(
        Api(
            provider=NAME,
            session=rooms.of(aiohttp.ClientSession),
            base=config.predictions_api_base.rstrip("/"),
            key=config.predictions_api_key,
            clock=rooms.of(Clock),
        )
    )


def _asked(request: Request) -> dict[str, Any]:
    params = request.model.params
    inputs = {**params.get("input", {}), params.get("prompt", PROMPT): request.prompt}
    asked = {"version": params["version"], "input": inputs}
    if request.callback_url is None:
        return asked
    return {**asked, "webhook": request.callback_url, "webhook_events_filter": ["completed"]}


def _failed(error: Any) -> ProviderFailed:
    """Of what the model says only its code is kept: the sentence may quote a person."""
    said = error if isinstance(error, str) else ""
    if _REFUSED.search(said):
        return ProviderFailed("refused", "the model refused", permanent=True)
    code = _ERROR_CODE.search(said)
    return ProviderFailed("failed", f"the model failed {code[0] if code else ''}".rstrip(), permanent=True)


def _percent(prediction: Prediction) -> int | None:
    """Where it is told: as a number, of 1 or of 100, or as the last percentage of the logs, as tqdm writes them."""
    told = prediction.progress
    if isinstance(told, dict):
        told = told.get("percentage")
    if type(told) in (int, float) and 0 <= told <= 100:
        return round(told * 100 if isinstance(told, float) and told <= 1 else told)
    found = _PERCENT.findall(prediction.logs or "")
    return int(found[-1]) if found else None
