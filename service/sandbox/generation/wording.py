"""What the stand-ins say, to a prompt and in a refusal. It knows the two APIs' errors, and nothing of HTTP servers.

https://platform.openai.com/docs/guides/error-codes, https://replicate.com/docs/reference/http#errors
"""

from __future__ import annotations

import re

from service.sandbox.processors.api import Answer

REFUSED = "forbidden"  # a prompt with this word goes against the rules
FAILED = "failing"  # a prediction with this word fails
CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)


def is_refused(prompt: str) -> bool:
    return REFUSED in prompt.lower()


def reply(model: str, prompt: str) -> str:
    """Something to read, in the language of the prompt."""
    if CYRILLIC.search(prompt):
        return f"Вы написали: «{prompt}». Это {model} в песочнице: думать она не умеет, но вас услышала."
    return f"You wrote: “{prompt}”. This is {model} in the sandbox: it cannot think, but it has heard you."


def openai_error(status: int, code: str | None, message: str, param: str | None = None) -> Answer:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Answer({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def replicate_error(status: int, title: str, detail: str) -> Answer:
    return Answer({"title": title, "detail": detail, "status": status}, status)
