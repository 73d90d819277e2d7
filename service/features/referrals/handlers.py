"""/partner: a person's link, and what it has brought. It knows what to show; it links and rewards nobody.

Who the friends are is not shown: they did not ask for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from service.catalog import Catalog, amounts
from service.config import Config
from service.features.referrals import repo, texts
from service.features.referrals.repo import Reward, Summary
from service.kernel.database import Database
from service.telegram import reply
from service.telegram.client import BotApi
from service.telegram.client.address import TELEGRAM, chat_of, share_of, start_of
from service.telegram.reply import Link, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

SHOWN = 5

router = Router()


@router.command("partner")
@router.button(texts.BUTTON)
async def show_link(ctx: Context, update: Update) -> Reply:
    async with ctx.of(Database).acquire() as conn:
        summary = await repo.get_summary(conn, referrer_id=ctx.user_id)
        rewards = await repo.list_rewards(conn, referrer_id=ctx.user_id, page=SHOWN)
    assert summary is not None, "sums are always told"
    link = _link_of(ctx)
    yours = ctx.say(texts.LINK, link=link) if link else ctx.say(texts.NO_LINK)
    text = "\n".join([_offer(ctx), "", yours, "", *_lines(ctx, summary, rewards)])
    share = [[Link(ctx.say(texts.SHARE), share_of(link, ctx.say(texts.SHARED)))]] if link else []
    return reply.show(update, text, share)


def _link_of(ctx: Context) -> str | None:
    """None until Telegram has told us our own name."""
    chat = chat_of(ctx.of(Config), ctx.of(BotApi).username)
    return None if chat == TELEGRAM else start_of(chat, f"ref_{ctx.user_id}")


def _offer(ctx: Context) -> str:
    percent = ctx.of(Catalog).referral_percent
    return ctx.say(texts.OFFER, percent=_plain(percent)) if percent else ctx.say(texts.INVITE)


def _lines(ctx: Context, summary: Summary, rewards: Sequence[Reward]) -> list[str]:
    lines = [ctx.count(texts.CAME, summary.came)]
    if summary.paid:
        lines.append(ctx.count(texts.PAID, summary.paid))
    if summary.earned_rub:
        lines.append(ctx.say(texts.EARNED, roubles=amounts.roubles(summary.earned_rub)))
    if rewards:
        lines += ["", ctx.say(texts.LAST), *(_line(ctx, reward) for reward in rewards)]
    return lines


def _line(ctx: Context, reward: Reward) -> str:
    """`2026-11-20  +15 ₽`."""
    return f"{reward.rewarded_at.strftime(ctx.say(texts.DATE))}  {amounts.signed(reward.reward_rub)}"


def _plain(percent: Decimal) -> str:
    """`10`, `7.5`."""
    return f"{percent.normalize():f}"
