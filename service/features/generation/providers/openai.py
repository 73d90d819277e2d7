"""Chat completions and images, by OpenAI or whoever speaks as OpenAI does. https://platform.openai.com/docs/api-reference

It knows what they take and answer; it knows nothing of who waits for it. Nothing is streamed: a message is sent whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec

from service.catalog import Params
from service.config import Config
from service.feature import Rooms
from service.features.generation.providers.api import Api, Call
from service.features.generation.providers.files import decoded, fetched, made
from service.features.generation.providers.params import checked, number, one_of, text, whole
from service.features.generation.providers.provider import Output, ProviderFailed, Request
from service.features.generation.providers.quiet import Quiet
from service.kernel.clock import Clock

NAME = "openai"
# What a model may say besides, and what goes out as it is.
CHAT = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "max_tokens": whole(1, 1_000_000),
    "max_completion_tokens": whole(1, 1_000_000),
    "reasoning_effort": text,
}
IMAGE = {
    "size": text,
    "quality": text,
    "style": text,
    "background": text,
    "output_format": one_of("png", "jpeg", "webp"),
    "response_format": one_of("b64_json", "url"),
}
SYSTEM = {"system": text}


class Message(msgspec.Struct):
    """What was said: a content, or why there is none."""

    content: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct):
    """One of the answers; we ask for one."""

    message: Message
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """https://platform.openai.com/docs/api-reference/chat/object"""

    choices: list[Choice]


class Picture(msgspec.Struct):
    """The one or the other, as the model has it."""

    b64_json: str | None = None
    url: str | None = None


class Pictures(msgspec.Struct):
    """https://platform.openai.com/docs/api-reference/images/object"""

    data: list[Picture]


class OpenAi:
    """One endpoint. Whoever asks twice is answered twice, so nothing that may have been done is asked again."""

    def __init__(self, api: Api) -> None:
        self._api, self._quiet = api, Quiet(api.clock)

    async def start(self, request: Request) -> Output:
        """Raises ProviderFailed."""
        with self._quiet.kept(request.model.params["model"]):
            return await (self._said(request) if request.model.params["kind"] == "chat" else self._drawn(request))

    async def check(self, request: Request, reference: str) -> Output:
        """It keeps nothing that could be asked for later."""
        raise ProviderFailed("lost", "the endpoint keeps no tasks", permanent=True)

    async def cancel(self, request: Request, reference: str) -> None:
        """Who closes the connection has cancelled."""

    async def _said(self, request: Request) -> Output:
        """https://platform.openai.com/docs/api-reference/chat/create"""
        params = request.model.params
        messages = [{"role": "user", "content": request.prompt}]
        if "system" in params:
            messages.insert(0, {"role": "system", "content": params["system"]})
        asked = {"model": params["model"], "messages": messages, "stream": False, **_given(params, CHAT)}
        answer = await self._post("/chat/completions", asked, Completion, request)
        choice = answer.choices[0] if answer.choices else Choice(Message())
        if choice.message.refusal or choice.finish_reason == "content_filter":
            raise ProviderFailed("refused", "the model refused", permanent=True)
        said = (choice.message.content or "").strip()
        if not said:
            raise ProviderFailed("empty", "the model said nothing", permanent=False)
        return Output(text=said)

    async def _drawn(self, request: Request) -> Output:
        """https://platform.openai.com/docs/api-reference/images/create"""
        params = request.model.params
        asked = {"model": params["model"], "prompt": request.prompt, "n": 1, **_given(params, IMAGE)}
        answer = await self._post("/images/generations", asked, Pictures, request)
        picture = answer.data[0] if answer.data else Picture()
        if picture.b64_json:
            return Output(file=made(decoded(picture.b64_json), request.model.id))
        if picture.url:
            return Output(file=await fetched(self._api.session, picture.url, request.model.id))
        raise ProviderFailed("empty", "the model drew nothing", permanent=False)

    async def _post(self, path: str, json: Any, answer: type[Any], request: Request) -> Any:
        return await self._api.send(
            Call(method="POST", path=path, json=json, answer=answer, timeout_s=request.model.timeout_s)
        )


def check(params: Params) -> Iterable[str]:
    """The faults of a model's parameters."""
    optional = IMAGE if params.get("kind") == "image" else {**CHAT, **SYSTEM}
    return checked(params, required={"kind": one_of("chat", "image"), "model": text}, optional=optional)


def configured(rooms: Rooms) -> OpenAi | None:
    """None without GENERATION_API_BASE. A server of one's own may do without a key."""
    config = rooms.of(Config)
    if config.generation_api_base is None:
        return None
    return OpenAi(
        Api(
            provider=NAME,
            session=rooms.of(aiohttp.ClientSession),
            base=config.generation_api_base.rstrip("/"),
            key=config.generation_api_key,
            clock=rooms.of(Clock),
        )
    )


def _given(params: Params, names: Iterable[str]) -> dict[str, Any]:
    return {name: params[name] for name in names if name in params}
