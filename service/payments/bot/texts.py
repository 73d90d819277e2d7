"""What is said about money, in both languages. Pure: it knows no occasion, that is the handlers'."""

from service.text import Text

BALANCE_COMMAND = Text(en="balance and history", ru="баланс и история")
TOPUP_COMMAND = Text(en="top up the balance", ru="пополнить баланс")
PAYSUPPORT_COMMAND = Text(en="help with a payment", ru="помощь с оплатой")
BALANCE_BUTTON = Text(en="💰 Balance", ru="💰 Баланс")
TOPUP_BUTTON = Text(en="➕ Top up", ru="➕ Пополнить")

BALANCE = Text(en="Balance: {roubles}", ru="Баланс: {roubles}")
HELD = Text(en="Put aside: {roubles}", ru="Отложено: {roubles}")
NO_ENTRIES = Text(en="Nothing has happened here yet.", ru="Операций пока не было.")
NO_HISTORY = Text(en="The history is not available now.", ru="История сейчас недоступна.")
OLDER = Text(en="Older »", ru="Раньше »")
NEWEST = Text(en="« Newest", ru="« Последние")
DATE = Text(en="%Y-%m-%d", ru="%d.%m.%Y")
ENTRIES = {
    "topup": Text(en="top-up", ru="пополнение"),
    "deduction": Text(en="spent", ru="списание"),
    "refund": Text(en="given back", ru="возврат"),
    "referral": Text(en="for an invited friend", ru="за приглашённого друга"),
    "chargeback": Text(en="payment returned", ru="возврат оплаты"),
    "adjustment": Text(en="correction", ru="корректировка"),
}

CHOOSE_PACK = Text(en="How much is it to be?", ru="На сколько пополнить?")
CHOOSE_PROCESSOR = Text(en="Top-up by {roubles}. How do you pay?", ru="Пополнение на {roubles}. Как заплатите?")
NOTHING_TO_BUY = Text(en="There is no way to pay at the moment.", ru="Сейчас оплатить нельзя.")
PAY = Text(en="Pay {amount}", ru="Оплатить {amount}")
BACK = Text(en="« Back", ru="« Назад")
AGAIN = Text(en="Try again", ru="Попробовать ещё раз")
ORDERED = Text(
    en="Top-up by {roubles}. I shall write as soon as the payment arrives.",
    ru="Пополнение на {roubles}. Напишу, как только придёт оплата.",
)
NO_ANSWER = Text(
    en="The payment system does not answer, try again in a minute.",
    ru="Платёжная система не отвечает, попробуйте через минуту.",
)
NOT_MADE = Text(
    en="The payment system refused. Choose another way, or write to /paysupport.",
    ru="Платёжная система отказала. Выберите другой способ или напишите: /paysupport.",
)
OVER = Text(en="This order is over. Here is another: /topup", ru="Этот заказ закрыт. Вот новый: /topup")

# Telegram shows these in place of the payment.
UNKNOWN_ORDER = Text(en="There is no such order.", ru="Такого заказа нет.")
ANOTHERS_ORDER = Text(en="This invoice is for somebody else.", ru="Этот счёт выставлен не вам.")
OTHER_AMOUNT = Text(en="The price has changed: /topup", ru="Цена изменилась: /topup")
PAID_ALREADY = Text(en="This was paid already.", ru="Этот счёт уже оплачен.")
OUT_OF_DATE = Text(en="This invoice is out of date: /topup", ru="Этот счёт устарел: /topup")

ARRIVED = Text(en="{roubles} arrived. Balance: {balance}.", ru="Поступило {roubles}. Баланс: {balance}.")

SUPPORT = Text(
    en="Is something wrong with a payment? Write to {whom}. Name the number of the payment, when and how you paid, and "
    "what happened. Money that was taken and did not arrive is found by that number.",
    ru="Что-то не так с оплатой? Контакт: {whom}. Укажите номер платежа, когда и как вы платили и что случилось. "
    "Если деньги списаны и не пришли, по этому номеру их найдут.",
)
OWNER = Text(en="the owner of this bot, who is named in its profile", ru="владелец этого бота, он указан в профиле")
NO_PAYMENTS_YET = Text(en="You have not paid here yet.", ru="Вы здесь ещё не платили.")
LAST_PAYMENTS = Text(en="Your last payments:", ru="Ваши последние платежи:")
STATUSES = {
    "creating": Text(en="not paid", ru="не оплачен"),
    "pending": Text(en="not paid", ru="не оплачен"),
    "waiting_for_capture": Text(en="being checked", ru="проверяется"),
    "succeeded": Text(en="paid", ru="оплачен"),
    "canceled": Text(en="cancelled", ru="отменён"),
    "expired": Text(en="out of date", ru="истёк"),
    "review": Text(en="being looked at", ru="на проверке"),
}
