"""/models: what can be made and for how much, shelf by shelf. It knows the catalogue and who is there to make it.

It reads nothing, so that it works with the database away.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.catalog import Catalog, Category, Model, amounts
from service.features.generation.bot import texts
from service.features.generation.providers.provider import Providers
from service.telegram import reply
from service.telegram.reply import Button, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

PAGE = 8

router = Router()


def offered(ctx: Context) -> list[Model]:
    """The models that somebody is there to make."""
    providers = ctx.of(Providers)
    return [model for model in ctx.of(Catalog).models if model.provider in providers]


def model_of(ctx: Context, model_id: str) -> Model | None:
    return next((model for model in offered(ctx) if model.id == model_id), None)


def price_of(ctx: Context, model: Model) -> str:
    """`free`, `12.50 ₽`."""
    return ctx.say(texts.FREE) if model.is_free else amounts.roubles(model.price_rub)


@router.command("models", when_away="run")
@router.button(texts.MODELS_BUTTON, when_away="run")
@router.callback("models", when_away="run")
async def show_models(ctx: Context, update: Update) -> Reply:
    """`models`, `models:<category>` or `models:<category>:<page>`; where there is but one shelf, nobody is asked."""
    _, wanted, page, *_ = [*update.data.split(":"), "", "", ""]
    models = offered(ctx)
    shelves = [shelf for shelf in ctx.of(Catalog).categories if any(model.category == shelf.id for model in models)]
    if not shelves:
        return reply.show(update, ctx.say(texts.NOTHING_TO_MAKE))
    shelf = next((shelf for shelf in shelves if shelf.id == wanted), shelves[0] if len(shelves) == 1 else None)
    if shelf is None:
        buttons: list[Button] = [(ctx.say(shelf.title), f"models:{shelf.id}") for shelf in shelves]
        return reply.show(update, ctx.say(texts.CHOOSE_CATEGORY), _page(ctx, buttons, "models:", page))
    rows = _page(ctx, _buttons(ctx, shelf, models), f"models:{shelf.id}", page)
    back: list[list[Button]] = [[(ctx.say(texts.BACK), "models")]] if len(shelves) > 1 else []
    return reply.show(update, ctx.say(texts.CHOOSE_MODEL, category=ctx.say(shelf.title)), [*rows, *back])


@router.callback("model", when_away="run")
async def show_model(ctx: Context, update: Update) -> Reply:
    model_id = update.data.partition(":")[2]
    model = model_of(ctx, model_id)
    if model is None:
        return reply.show(update, ctx.say(texts.UNKNOWN_MODEL, model=model_id), [[(ctx.say(texts.BACK), "models")]])
    told = {"title": ctx.say(model.title), "price": price_of(ctx, model)}
    rows = [[(ctx.say(texts.CREATE), f"make:{model.id}")], [(ctx.say(texts.BACK), f"models:{model.category}")]]
    return reply.show(update, ctx.count(texts.MODEL, model.prompt_max, **told), rows)


def _buttons(ctx: Context, shelf: Category, models: Iterable[Model]) -> list[Button]:
    return [
        (f"{ctx.say(model.title)} – {price_of(ctx, model)}", f"model:{model.id}")
        for model in models
        if model.category == shelf.id
    ]


def _page(ctx: Context, buttons: list[Button], data: str, page: str) -> list[list[Button]]:
    """Buttons one below the other, and how to turn the page where there are several; one too far is the last."""
    last = (len(buttons) - 1) // PAGE
    at = min(int(page), last) if page.isdecimal() else 0
    turns: list[Button] = [(ctx.say(texts.EARLIER), f"{data}:{at - 1}")] if at else []
    turns += [(ctx.say(texts.LATER), f"{data}:{at + 1}")] if at < last else []
    rows = [[button] for button in buttons[at * PAGE : (at + 1) * PAGE]]
    return [*rows, turns] if turns else rows
