"""What is said about referrals, in both languages. Pure: it knows no occasion, that is the handlers'."""

from service.text import Counted, Text

BUTTON = Text(en="🤝 Referrals", ru="🤝 Партнёрка")
COMMAND = Text(en="your link for friends", ru="ваша ссылка для друзей")

OFFER = Text(
    en="Invite your friends: {percent} % of a friend's first top-up is yours.",
    ru="Приглашайте друзей: {percent} % от первого пополнения друга – ваши.",
)
INVITE = Text(en="Invite your friends by your link.", ru="Приглашайте друзей по своей ссылке.")
LINK = Text(en="Your link:\n{link}", ru="Ваша ссылка:\n{link}")
NO_LINK = Text(
    en="Your link is not ready yet, try again in a minute.", ru="Ссылка ещё не готова, попробуйте через минуту."
)
SHARE = Text(en="📨 Send to a friend", ru="📨 Отправить другу")
SHARED = Text(en="Have a look at this bot.", ru="Посмотри этого бота.")
CAME = Counted(
    en={"one": "{n} friend has come by it.", "other": "{n} friends have come by it."},
    ru={
        "one": "По ней пришёл {n} друг.",
        "few": "По ней пришли {n} друга.",
        "many": "По ней пришло {n} друзей.",
        "other": "По ней пришло {n} друга.",
    },
)
PAID = Counted(
    en={"one": "{n} of them has topped up.", "other": "{n} of them have topped up."},
    ru={
        "one": "Пополнил баланс {n} из них.",
        "few": "Пополнили баланс {n} из них.",
        "many": "Пополнили баланс {n} из них.",
        "other": "Пополнили баланс {n} из них.",
    },
)
EARNED = Text(en="You have earned {roubles}.", ru="Вы заработали {roubles}.")
LAST = Text(en="The last rewards:", ru="Последние начисления:")
DATE = Text(en="%Y-%m-%d", ru="%d.%m.%Y")

REWARDED = Text(
    en="Your friend has topped up: {roubles} of it is yours.",
    ru="Ваш друг пополнил баланс: вам начислено {roubles}.",
)
