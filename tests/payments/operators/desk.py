"""An operator at work: the service's admin routes with the token, and the answers he gets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from tests.serving import ADMIN_TOKEN, Served

keys = itertools.count(1)


@dataclass(frozen=True)
class Desk:
    served: Served

    async def post(self, path: str, body: Any, key: str | None = "") -> tuple[int, Any]:
        """The status and the JSON; with a new key, unless one is given, or None."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        if key is not None:
            headers["Idempotency-Key"] = key or f"key-{next(keys)}"
        form = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.served.http.post(self.served.base + path, headers=headers, **form) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> tuple[int, Any]:
        return await self.served.get(path, admin=True)

    async def adjust(self, user_id: int, amount: Any, reason: Any = "by hand", key: str | None = "") -> tuple[int, Any]:
        return await self.post(f"/admin/users/{user_id}/adjust", {"amount_rub": amount, "reason": reason}, key)

    async def refund(self, payment_id: object, amount: Any = None, key: str | None = "") -> tuple[int, Any]:
        asked = {"reason": "asked for"} | ({} if amount is None else {"amount": amount})
        return await self.post(f"/admin/payments/{payment_id}/refund", asked, key)


def code(answer: tuple[int, Any]) -> tuple[int, str]:
    """The status and the word for what went wrong."""
    return answer[0], answer[1]["error"]["code"]
