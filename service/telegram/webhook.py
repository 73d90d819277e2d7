"""POST /telegram/webhook: the door of the bot.

It knows HTTP, the secret and the size of a body; what an update means is the dispatcher's. A status other than
200 makes Telegram send the update again, so 200 is for what is done or kept, and for nothing else.
https://core.telegram.org/bots/api#setwebhook
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest

from aiohttp import hdrs, web
from multidict import CIMultiDict

from service import errors
from service.http import LOG_FIELDS
from service.kernel.budget import Budget
from service.telegram.dispatch import Dispatcher

PATH = "/telegram/webhook"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # the header's name
BODY_MAX = 1024 * 1024  # bytes; the largest update Telegram sends is a small fraction of it

JSON = CIMultiDict({hdrs.CONTENT_TYPE: "application/json"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def door(dispatcher: Dispatcher, secret: str) -> Handler:
    """The handler of the route. Errors go to the application's table of codes and statuses."""
    expected = secret.encode()

    async def receive(request: web.Request) -> web.Response:
        # aiohttp keeps bytes that are no UTF-8 as surrogates. Without a secret of our own nobody comes in.
        given = request.headers.get(SECRET_HEADER, "").encode(errors="surrogateescape")
        if not expected or not compare_digest(given, expected):
            raise errors.Forged("The secret token is wrong.")
        answer = await dispatcher.answer(await _read(request, dispatcher.budget))
        request[LOG_FIELDS] = answer.log_fields
        return web.Response(body=answer.body, headers=JSON) if answer.body else web.Response()

    return receive


async def _read(request: web.Request, budget: Budget) -> bytes:
    """The application bounds how much is read, the budget for how long; most bodies come with their head."""
    body = request.read()
    try:
        return await (body if request.content.is_eof() else budget.spend(body))
    except web.HTTPRequestEntityTooLarge:
        raise errors.TooLarge("An update has at most 1 MiB.") from None
    except web.RequestPayloadError:  # cut off, or not packed as it says
        raise errors.Invalid("The body cannot be read.") from None
