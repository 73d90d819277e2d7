"""What the bot says about itself and about a person's settings. It knows no occasion: that is the handlers'."""

from service.text import Text

WELCOME = Text(
    en="Hello, {name}! I am here. /menu shows what I can do.",
    ru="Здравствуйте, {name}! Я на связи. /menu покажет, что я умею.",
)
MENU = Text(en="What would you like?", ru="Что вам нужно?")
HELP = Text(en="This is what I understand:", ru="Вот что я понимаю:")
NOT_UNDERSTOOD = Text(
    en="I did not understand that. /help shows what I know.",
    ru="Не понял. /help покажет, что я умею.",
)
CHOOSE_LANGUAGE = Text(en="I speak English to you. Change?", ru="Я говорю с вами по-русски. Сменить?")
LANGUAGE_CHOSEN = Text(en="From now on in English.", ru="Теперь по-русски.")

LANGUAGE_BUTTON = Text(en="🌐 Language", ru="🌐 Язык")
HELP_BUTTON = Text(en="❓ Help", ru="❓ Помощь")
LANGUAGE_NAMES = {"en": "English", "ru": "Русский"}

START_COMMAND = Text(en="begin", ru="начать")
MENU_COMMAND = Text(en="what I can do", ru="что я умею")
LANGUAGE_COMMAND = Text(en="choose the language", ru="выбрать язык")
HELP_COMMAND = Text(en="all commands", ru="все команды")
