"""What is said to operators about generations, in both languages. Pure: it knows no occasion."""

from service.text import Counted, Text

HOW_TO_STATS = Text(
    en="/stats and a number of hours, from 1 to {most}.", ru="/stats и количество часов, от 1 до {most}."
)
HOW_TO_FAILURES = Text(
    en="/failures and a number of hours, from 1 to {most}.", ru="/failures и количество часов, от 1 до {most}."
)
WINDOW = Counted(
    en={"one": "📊 The last hour", "other": "📊 The last {n} hours"},
    ru={
        "one": "📊 За последний {n} час",
        "few": "📊 За последние {n} часа",
        "many": "📊 За последние {n} часов",
        "other": "📊 За последние {n} часа",
    },
)
PEOPLE = Counted(
    en={"one": "👥 {n} person, new today: {newcomers}", "other": "👥 {n} people, new today: {newcomers}"},
    ru={
        "one": "👥 {n} человек, сегодня новых: {newcomers}",
        "few": "👥 {n} человека, сегодня новых: {newcomers}",
        "many": "👥 {n} человек, сегодня новых: {newcomers}",
        "other": "👥 {n} человека, сегодня новых: {newcomers}",
    },
)
GENERATIONS = Counted(
    en={"one": "🎨 {n} generation", "other": "🎨 {n} generations"},
    ru={
        "one": "🎨 {n} генерация",
        "few": "🎨 {n} генерации",
        "many": "🎨 {n} генераций",
        "other": "🎨 {n} генерации",
    },
)
ENDINGS = Text(
    en="✅ {success}, ❌ {failed}, of these ⏱ {timeouts}. Success rate: {percent} %",
    ru="✅ {success}, ❌ {failed}, из них ⏱ {timeouts}. Доля успешных: {percent} %",
)
PAID = Text(en="💰 Paid: {roubles}", ru="💰 Оплачено: {roubles}")
TOP = Text(en="Most used:", ru="Чаще всего:")
MADE = Text(en="{number}. {title}: {made}", ru="{number}. {title}: {made}")
FAILURES = Counted(
    en={"one": "❌ Failures of the last hour:", "other": "❌ Failures of the last {n} hours:"},
    ru={
        "one": "❌ Ошибки за последний {n} час:",
        "few": "❌ Ошибки за последние {n} часа:",
        "many": "❌ Ошибки за последние {n} часов:",
        "other": "❌ Ошибки за последние {n} часа:",
    },
)
NO_FAILURES = Text(en="None.", ru="Ошибок не было.")
MORE = Text(en="… and others", ru="… и другие")
