"""A stand-in for Telegram: its Bot API over real HTTP, a few people, and a page to be them in a browser.

For development and tests only. It knows Telegram's wire format and must not know anything of the bot: it
imports no other room, and the bot knows of it as TELEGRAM_API_BASE alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from service.sandbox.calls import Arguments, Call, Calls, Dropped, Faults, Json, Refusal, Via, leading_integer
from service.sandbox.chats import Chats, Message
from service.sandbox.delivery import Courier, Schedule, Update, Updates, resend_after
from service.sandbox.doors import Doors
from service.sandbox.invoices import Checkout
from service.sandbox.methods import MessageMethods, UpdateMethods
from service.sandbox.people import CAST, CannotDo, Person, World

__all__ = ["Call", "CannotDo", "Message", "Person", "Refusal", "Sandbox", "Update", "resend_after"]

BOT: Json = {"is_bot": True, "first_name": "Ballast", "username": "ballast_sandbox_bot"}
NOT_FROM_A_WEBHOOK = frozenset({"deletewebhook", "setwebhook", "close", "logout"})


class Sandbox:
    """The emulator's state. The base address for the client is where `prefix` is mounted.

    token: the only one that is accepted. clock: seconds since the epoch. schedule: seconds until an update
    that failed n times before is sent again, given n and the response's Retry-After. users: the people
    by name, as User objects of the Bot API.
    """

    def __init__(
        self,
        token: str,
        clock: Callable[[], float] = time.time,
        *,
        schedule: Schedule = resend_after,
        users: Mapping[str, Json] = CAST,
    ) -> None:
        self.token, self.clock = token, clock
        self.calls: Calls[Call] = Calls()
        self.faults = Faults()
        self.chats = Chats({**BOT, "id": leading_integer(token) or 1}, users.values(), clock)
        self.updates = Updates(clock)
        self.updates.changed = self._tell_status
        self._courier = Courier(self.updates, self._execute_quietly, schedule)
        checkout = Checkout(self.chats, self.updates)
        world = World(self.chats, self.updates, self._courier, checkout)
        self.people = [Person(world, name, user) for name, user in users.items()]
        self._messages = MessageMethods(self.chats)
        webhook = UpdateMethods(self.updates, self._courier)
        tables = (self._messages.table(), webhook.table(), checkout.table())
        self.methods = {name.lower(): method for table in tables for name, method in table.items()}

    def routes(self, prefix: str = "/sandbox") -> list[web.RouteDef]:
        """The page at `prefix`, the Bot API at `prefix`/bot{token}/{method}."""
        return Doors(self, prefix).routes()

    def mount(self, app: web.Application, prefix: str = "/sandbox") -> None:
        """Serve from this app, and stop with it."""
        app.add_routes(self.routes(prefix))

        async def on_shutdown(_: web.Application) -> None:
            await self.stop()

        app.on_shutdown.append(on_shutdown)

    async def execute(self, method: str, args: Arguments, via: Via) -> Any:
        """Run one call. Raises Refusal, or Dropped where a fault wants the connection closed."""
        status = 0
        try:
            await self._suffer(method, args, via)
            handler = self.methods.get(method.lower())
            if handler is None:
                raise Refusal(404, "Not Found: method not found")
            result = await handler(args)
            status = 200
        except Refusal as refusal:
            status = refusal.code
            raise
        finally:
            if status:
                self._record(method, args, via, status)
        return result

    def person(self, name: str) -> Person:
        """The person of this name. Raises KeyError where there is none."""
        found = next((person for person in self.people if person.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    async def wait_for(self, wanted: Callable[[Call], bool], timeout: float = 5.0) -> Call:
        """The first call that is wanted, made already or within `timeout` seconds; else TimeoutError."""
        return await self.calls.wait_for(wanted, timeout)

    async def settled(self, timeout: float = 5.0) -> None:
        """Return when the bot has taken every update; TimeoutError after `timeout` seconds."""
        with self.chats.feed.reader() as changes:
            async with asyncio.timeout(timeout):
                while len(self.updates):
                    await changes.get()

    async def stop(self) -> None:
        """Let go everything that waits. What was pending stays pending, as it would with Telegram."""
        self.faults.clear()
        self.chats.feed.close()
        self.updates.wake()
        await self._courier.stop()

    def state(self) -> Json:
        """All that the page shows, as its first event."""
        chats = [
            {
                "name": person.name,
                "user": person.user,
                "messages": [message.wire for message in person.chat],
                "keyboard": self.chats.of(person.id).keyboard,
                "asked": self.chats.of(person.id).asked,
                "blocked": self.chats.of(person.id).blocked,
            }
            for person in self.people
        ]
        about = {"bot": self.chats.bot, "commands": self._messages.menu(), "status": self._courier.info()}
        return {"kind": "state", "chats": chats, **about}

    def _tell_status(self) -> None:
        self.chats.feed.tell("status", status=self._courier.info())

    async def _suffer(self, method: str, args: Arguments, via: Via) -> None:
        fault = self.faults.take(method)
        if isinstance(fault, Refusal):
            raise fault
        if fault is not None:
            self._record(method, args, via, 0)
            if fault == "hang":
                await self.faults.released()
            raise Dropped

    def _record(self, method: str, args: Arguments, via: Via, status: int) -> None:
        params: Mapping[str, Any] = {**args.values, **args.files}
        self.calls.record(Call(method, params, self.clock(), status, via))

    async def _execute_quietly(self, args: Arguments) -> None:
        """A method in a webhook's response: results and errors reach nobody, as with the real server."""
        method = args.string("method")
        if not method or method.lower() in NOT_FROM_A_WEBHOOK or method.lower().startswith("get"):
            return
        try:
            await self.execute(method, args, "webhook")
        except (Refusal, Dropped):
            return
