"""/features, for operators: every feature as it stands. It knows the board and nothing of what a feature does."""

from __future__ import annotations

from collections.abc import Sequence

from service.feature import Board, Feature, Off, State
from service.features.operators import texts
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

router = Router()


@router.command("features", for_operators=True, when_away="run")
async def show_features(ctx: Context, _update: Update) -> Reply:
    """What is off by itself comes first, then what is off by choice: a long list is cut at its end."""
    board = sorted(ctx.of(Board), key=_place)
    off = sum(isinstance(state, Off) for _, state in board)
    lines = [ctx.count(texts.OFF, off) if off else ctx.say(texts.ALL_ON), "", *_lines(ctx, board)]
    return reply.send(ctx.chat_id, reply.fitting(lines))


def _place(one: tuple[Feature, State]) -> int:
    state = one[1]
    return 2 if not isinstance(state, Off) else 1 if state.is_chosen else 0


def _lines(ctx: Context, board: Sequence[tuple[Feature, State]]) -> list[str]:
    """The reason is the one of the log and of /health, so that it can be searched for."""
    return [
        f"⛔ {ctx.say(feature.title)}: {state.reason}" if isinstance(state, Off) else f"✅ {ctx.say(feature.title)}"
        for feature, state in board
    ]
