"""Chat completions and images as OpenAI has them. https://platform.openai.com/docs/api-reference

It knows what a request must look like and what an answer does; it must not know HTTP servers.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

import orjson

from service.sandbox.generation.pictures import png
from service.sandbox.generation.wording import is_refused, openai_error, reply
from service.sandbox.processors.api import Answer, Ask, Json, Refused, new_uuid

CHAT_MODEL = re.compile(r"(gpt-(?!image)|o[0-9]|chatgpt-)[A-Za-z0-9.-]*")
ROLES = frozenset({"system", "developer", "user", "assistant"})
CHAT_TAKES = frozenset(
    ("model", "messages", "stream", "temperature", "top_p", "max_tokens", "max_completion_tokens", "reasoning_effort")
)
# Sizes, by the beginning of a model's name. https://platform.openai.com/docs/api-reference/images/create#size
SIZES = {
    "gpt-image": frozenset({"auto", "1024x1024", "1536x1024", "1024x1536"}),
    "dall-e-3": frozenset({"1024x1024", "1792x1024", "1024x1792"}),
    "dall-e-2": frozenset({"256x256", "512x512", "1024x1024"}),
}
IMAGE_TAKES = frozenset(("model", "prompt", "n", "size", "quality", "style", "response_format", "background"))
NOT_OF_GPT_IMAGE = frozenset(("style", "response_format"))
NOT_OF_DALL_E = frozenset(("background", "output_format"))


def chat(ask: Ask) -> Answer:
    """POST /chat/completions."""
    body = _body(ask, CHAT_TAKES)
    model = _model(body, bool(CHAT_MODEL.fullmatch(str(body.get("model")))))
    _must(not body.get("stream"), "stream", "the sandbox does not stream")
    _must(_between(body.get("temperature", 1), 0, 2), "temperature", "must be from 0 to 2")
    prompt = _last_said(body.get("messages"))
    if is_refused(prompt):
        message, ending = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}, "stop"
    else:
        message, ending = {"role": "assistant", "content": reply(model, prompt), "refusal": None}, "stop"
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": ending}
    named = {"id": f"chatcmpl-{new_uuid()}", "object": "chat.completion", "created": 1_790_000_000, "model": model}
    return Answer({**named, "choices": [choice], "usage": usage})


def images(ask: Ask) -> Answer:
    """POST /images/generations."""
    body = _body(ask, IMAGE_TAKES | NOT_OF_DALL_E)
    family = next((name for name in SIZES if str(body.get("model")).startswith(name)), "")
    _model(body, bool(family))
    not_its = NOT_OF_GPT_IMAGE if family == "gpt-image" else NOT_OF_DALL_E
    _must(not not_its & body.keys(), min(not_its & body.keys(), default=""), "Unknown parameter")
    _must(body.get("size", "1024x1024") in SIZES[family], "size", "Invalid value")
    _must(body.get("n", 1) == 1, "n", "the sandbox draws one at a time")
    prompt = body.get("prompt")
    _must(isinstance(prompt, str) and 0 < len(prompt) <= 4_000, "prompt", "must be a text of up to 4000 characters")
    if is_refused(str(prompt)):
        code = "moderation_blocked" if family == "gpt-image" else "content_policy_violation"
        raise Refused(openai_error(400, code, "Your request was rejected by the safety system."))
    as_url = family != "gpt-image" and body.get("response_format", "url") == "url"
    one = (
        {"url": picture_url(ask, str(prompt))} if as_url else {"b64_json": base64.b64encode(png(str(prompt))).decode()}
    )
    return Answer({"created": 1_790_000_000, "data": [one]})


def picture_url(ask: Ask, prompt: str) -> str:
    """Where the picture of a prompt can be fetched without a key."""
    return f"{ask.here}/files/{quote(prompt[:100], safe='')}.png"


def _body(ask: Ask, takes: frozenset[str]) -> Json:
    try:
        body = orjson.loads(ask.body)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Refused(openai_error(400, None, "We could not parse the JSON body of your request."))
    unknown = min(body.keys() - takes, default="")
    _must(not unknown, unknown, "Unrecognized request argument supplied", "unknown_parameter")
    return body


def _model(body: Json, is_there: bool) -> str:
    model = body.get("model")
    _must(isinstance(model, str) and model != "", "model", "you must provide a model parameter")
    if not is_there:
        raise Refused(openai_error(404, "model_not_found", f"The model `{model}` does not exist", "model"))
    return str(model)


def _last_said(messages: Any) -> str:
    _must(isinstance(messages, list) and len(messages) > 0, "messages", "must be a list that is not empty")
    for message in messages:
        fits = isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
        _must(fits, "messages", "Invalid message")
    return str(messages[-1]["content"])


def _between(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _must(holds: bool, param: str, why: str, code: str | None = "invalid_value") -> None:
    if not holds:
        raise Refused(openai_error(400, code, f"{why}: {param}", param))
