"""GET /health/live, /health/ready and /health: whether to restart, whether to route, and what is wrong.

It knows states that others keep up to date, and answers from memory: no probe ever waits for the database.
"""

from __future__ import annotations

from aiohttp import web

from service import http
from service.feature import Off, State
from service.ops.operations import Operations


def routes(operations: Operations) -> list[web.RouteDef]:
    async def live(_request: web.Request) -> web.Response:
        return http.answer({"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        reason = why_not_ready(operations)
        body = {"status": "not ready", "reason": reason} if reason else {"status": "ready"}
        return http.answer(body, 503 if reason else 200)

    async def health(_request: web.Request) -> web.Response:
        report = describe(operations)
        return http.answer(report, 503 if report["status"] == "unhealthy" else 200)

    return [web.get("/health/live", live), web.get("/health/ready", ready), web.get("/health", health)]


def why_not_ready(operations: Operations) -> str:
    """Empty when the doors can do their work."""
    phase = operations.lifecycle.phase
    return _what_is_down(operations) if phase == "serving" else phase


def _what_is_down(operations: Operations) -> str:
    """Without which hardly anything works; empty when it is all there."""
    if not operations.database.reachable:
        return "database away"
    if operations.switchboard.probed_at is None:  # a database that came after us
        return "tables not looked at yet"
    essential = operations.switchboard.mounted.essential
    return "" if essential.state == "on" else essential.reason


def describe(operations: Operations) -> dict[str, object]:
    """The whole report. Says why, and never where: no address, user or password of the database."""
    states = operations.switchboard.states
    database = operations.database.status()
    return {
        "status": status(operations),
        "timestamp": operations.clock.now(),
        "phase": operations.lifecycle.phase,
        "database": {"reachable": database.reachable, "reason": database.reason, "since": database.since},
        "features": {name: _feature(state) for name, state in states.items()},
    }


def status(operations: Operations) -> str:
    """healthy; degraded when a feature is off that should be on; unhealthy when hardly anything works."""
    if _what_is_down(operations):
        return "unhealthy"
    states = operations.switchboard.states.values()
    degraded = any(isinstance(state, Off) and not state.is_chosen for state in states)
    return "degraded" if degraded else "healthy"


def _feature(state: State) -> dict[str, object]:
    return {"state": state.state, "reason": state.reason, "missing": list(state.missing)}
