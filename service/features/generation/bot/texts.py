"""What is said about making things, in both languages. Pure: it knows no occasion, that is the handlers'."""

from service.text import Counted, Text

MODELS_COMMAND = Text(en="what I can make", ru="что я умею создавать")
GENERATE_COMMAND = Text(en="make something: model and prompt", ru="создать: модель и запрос")
MODELS_BUTTON = Text(en="✨ Models", ru="✨ Модели")

FREE = Text(en="free", ru="бесплатно")
CHOOSE_CATEGORY = Text(en="What shall I make?", ru="Что создадим?")
CHOOSE_MODEL = Text(en="{category}: which model?", ru="{category}: какая модель?")
NOTHING_TO_MAKE = Text(en="There are no models at the moment.", ru="Сейчас нет доступных моделей.")
MODEL = Counted(
    en={
        "one": "{title}\n\nPrice: {price}\nPrompt: up to {n} character",
        "other": "{title}\n\nPrice: {price}\nPrompt: up to {n} characters",
    },
    ru={
        "one": "{title}\n\nЦена: {price}\nЗапрос: до {n} символа",
        "few": "{title}\n\nЦена: {price}\nЗапрос: до {n} символов",
        "many": "{title}\n\nЦена: {price}\nЗапрос: до {n} символов",
        "other": "{title}\n\nЦена: {price}\nЗапрос: до {n} символа",
    },
)
CREATE = Text(en="✨ Create", ru="✨ Создать")
BACK = Text(en="« Back", ru="« Назад")
EARLIER = Text(en="‹ Previous", ru="‹ Раньше")
LATER = Text(en="Next ›", ru="Дальше ›")

# Its last line is a command, so that the reply to it is that command's payload.
QUESTION = Text(
    en="{title}, {price}. Say what you want in a reply to this message.\n\n/generate {model}",
    ru="{title}, {price}. Напишите, что нужно, в ответ на это сообщение.\n\n/generate {model}",
)
PLACEHOLDER = Text(en="Describe what you want", ru="Опишите, что нужно")
UNKNOWN_MODEL = Text(
    en="There is no model “{model}”. Choose one of these: /models",
    ru="Модели «{model}» нет. Выберите из этих: /models",
)
TOO_LONG = Counted(
    en={
        "one": "The prompt is too long: {given} characters, and {title} takes {n}. Send a shorter one.",
        "other": "The prompt is too long: {given} characters, and {title} takes {n}. Send a shorter one.",
    },
    ru={
        "one": "Слишком длинный запрос: {given}, а «{title}» принимает до {n} символа. Пришлите короче.",
        "few": "Слишком длинный запрос: {given}, а «{title}» принимает до {n} символов. Пришлите короче.",
        "many": "Слишком длинный запрос: {given}, а «{title}» принимает до {n} символов. Пришлите короче.",
        "other": "Слишком длинный запрос: {given}, а «{title}» принимает до {n} символа. Пришлите короче.",
    },
)
TOO_MANY = Counted(
    en={
        "one": "You have {n} order open already. Wait for it or cancel it, then send this again.",
        "other": "You have {n} orders open already. Wait for one or cancel it, then send this again.",
    },
    ru={
        "one": "У вас уже {n} заказ в работе. Дождитесь его или отмените, потом повторите.",
        "few": "У вас уже {n} заказа в работе. Дождитесь одного из них или отмените его, потом повторите.",
        "many": "У вас уже {n} заказов в работе. Дождитесь одного из них или отмените его, потом повторите.",
        "other": "У вас уже {n} заказа в работе. Дождитесь одного из них или отмените его, потом повторите.",
    },
)
BUSY = Text(
    en="There is very much to do just now. Try again in a minute.",
    ru="Сейчас очень много заказов. Попробуйте через минуту.",
)
NOT_ENOUGH = Text(
    en="Not enough: it takes {price}, and your balance is {balance}.",
    ru="Не хватает: нужно {price}, на балансе {balance}.",
)
TOP_UP = Text(en="➕ Top up", ru="➕ Пополнить")

ACCEPTED = Text(en="🎨 {title}: accepted, the result will come here.", ru="🎨 {title}: принято, результат придёт сюда.")
BEHIND = Counted(
    en={"one": "{n} order of yours is ahead of it.", "other": "{n} orders of yours are ahead of it."},
    ru={
        "one": "Перед ним {n} ваш заказ.",
        "few": "Перед ним {n} ваших заказа.",
        "many": "Перед ним {n} ваших заказов.",
        "other": "Перед ним {n} ваших заказа.",
    },
)
CANCEL = Text(en="✖️ Cancel", ru="✖️ Отменить")
CANCELLED = Text(en="✖️ {title}: cancelled.", ru="✖️ {title}: отменено.")
MONEY_BACK = Text(en="{price} is back on your balance.", ru="{price} снова на балансе.")
OVER_ALREADY = Text(en="This order is over already.", ru="Этот заказ уже завершён.")
NO_SUCH_ORDER = Text(en="You have no such order.", ru="У вас нет такого заказа.")

PROGRESS = Text(en="⏳ {title}: {elapsed}", ru="⏳ {title}: {elapsed}")
PROGRESS_PERCENT = Text(en="⏳ {title}: {percent}%, {elapsed}", ru="⏳ {title}: {percent} %, {elapsed}")

RESULT = Text(en="🎨 {title}", ru="🎨 {title}")
AGAIN = Text(en="🔁 Repeat", ru="🔁 Повторить")
FAILED = Text(en="😔 {title}: it did not work out. {reason}", ru="😔 {title}: не получилось. {reason}")
TRY_LATER = Text(en="Try again later.", ru="Попробуйте позже.")
REASONS = {
    "timeout": Text(en="It took too long. Try again later.", ru="Это заняло слишком много времени. Попробуйте позже."),
    "refused": Text(
        en="The model refused this prompt. Put it differently.",
        ru="Модель отклонила этот запрос. Сформулируйте его иначе.",
    ),
    "too_long": Text(en="The prompt is too long for this model.", ru="Для этой модели запрос слишком длинный."),
    "nothing_to_draw": Text(en="There is nothing in it that can be drawn.", ru="В запросе нечего нарисовать."),
    "rate_limited": Text(en="The model is overloaded. Try again later.", ru="Модель перегружена. Попробуйте позже."),
    "model_gone": Text(en="This model is not offered any more: /models", ru="Этой модели больше нет: /models"),
    "not_configured": Text(en="This model is not offered any more: /models", ru="Этой модели больше нет: /models"),
}
NOT_CHARGED = Text(en="You were not charged.", ru="Деньги не списаны.")
