"""A shop of a few lines, with a door for callbacks and a client for each processor, on real sockets."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from service.sandbox.processors import Accounts, PolarAccount, Processors, StripeAccount, YooKassaAccount
from service.sandbox.processors.callbacks import Schedule
from tests.sandbox.world import Clock, serving

ACCOUNTS = Accounts(
    YooKassaAccount("506751", "test_the-shop's-key"),
    StripeAccount("sk_test_the-account's-key", "whsec_the-endpoint's-secret"),
    PolarAccount("polar_oat_token", "polar_whs_secret"),
)
BACK = "https://t.me/a_bot"
PAYMENT = {
    "amount": {"value": "150.00", "currency": "RUB"},
    "capture": True,
    "confirmation": {"type": "redirect", "return_url": BACK},
    "description": "Top-up <150>",
    "metadata": {"payment_id": "one"},
}
SESSION = {
    "mode": "payment",
    "line_items[0][price_data][currency]": "usd",
    "line_items[0][price_data][unit_amount]": "1000",
    "line_items[0][price_data][product_data][name]": "Top-up",
    "line_items[0][quantity]": "1",
    "success_url": BACK,
    "client_reference_id": "one",
    "metadata[payment_id]": "one",
    "payment_intent_data[metadata][payment_id]": "one",
}
PRODUCT = "0b8c8b6f-5a38-4a5c-9d3c-5f4f4f6f9a01"
CHECKOUT = {
    "products": [PRODUCT],
    "prices": {PRODUCT: [{"amount_type": "fixed", "price_amount": 1000, "price_currency": "usd"}]},
    "external_customer_id": "700000001",
    "metadata": {"payment_id": "one"},
    "success_url": BACK,
}


@dataclass
class Got:
    """A callback as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """An API's answer."""

    status: int
    body: Any
    headers: Any

    def __getitem__(self, name: str) -> Any:
        return self.body[name]


@dataclass
class Shop:
    """`react` says with which status a callback is answered."""

    processors: Processors
    clock: Clock
    http: aiohttp.ClientSession
    address: str = ""
    sandbox: str = ""
    react: Callable[[Got], int] = lambda got: 200
    got: list[Got] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        got = Got(request.path, dict(request.headers), await request.read())
        self.got.append(got)
        return web.Response(status=self.react(got), headers={"Location": f"{self.sandbox}/pay/page/pay.js"})

    async def yookassa(self, method: str, path: str, json: Any = None, **more: Any) -> Reply:
        """With a fresh Idempotence-Key unless `key` is given; `headers` come on top."""
        headers = {"Idempotence-Key": more.pop("key", None) or str(uuid.uuid4())} if method == "POST" else {}
        auth = more.pop("auth", ACCOUNTS.yookassa)
        login = aiohttp.encode_basic_auth(auth.shop_id, auth.secret_key) if auth else ""
        headers |= {"Authorization": login} if login else {}
        headers |= more.pop("headers", {})
        return await self.call(method, f"/yookassa/v3{path}", json=json, headers=headers, **more)

    async def stripe(self, method: str, path: str, data: Any = None, **more: Any) -> Reply:
        headers = {"Authorization": f"Bearer {ACCOUNTS.stripe.secret_key}"} | more.pop("headers", {})
        if key := more.pop("key", None):
            headers["Idempotency-Key"] = key
        return await self.call(method, f"/stripe{path}", data=data, headers=headers, **more)

    async def polar(self, method: str, path: str, json: Any = None, **more: Any) -> Reply:
        headers = {"Authorization": f"Bearer {ACCOUNTS.polar.access_token}"} | more.pop("headers", {})
        return await self.call(method, f"/polar{path}", json=json, headers=headers, **more)

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        async with self.http.request(method, f"{self.sandbox}{path}", **more) as response:
            return Reply(response.status, await response.json(), response.headers)

    async def events(self) -> list[str]:
        """What was told by now, by name, in the order in which it was said."""
        await self.processors.settled()
        return [callback.event for callback in self.processors.callbacks]


@asynccontextmanager
async def opened(accounts: Accounts = ACCOUNTS, schedule: Schedule = lambda failures: 0.0) -> AsyncIterator[Shop]:
    """A shop and the processors it deals with. A callback that failed is sent again at once."""
    clock, app = Clock(), web.Application()
    async with aiohttp.ClientSession() as http:
        shop = Shop(Processors(lambda: shop.address, accounts, clock=clock, schedule=schedule), clock, http)
        shop.processors.mount(app)
        app.router.add_post("/payments/{processor}", shop.handle)
        async with serving(app) as address:
            shop.address, shop.sandbox = address, f"{address}/sandbox"
            yield shop
