"""What is said about projects, in both languages. Pure: it knows no occasion, that is the handlers'."""

from service.text import Counted, Text

PROJECTS_BUTTON = Text(en="💼 My projects", ru="💼 Мои проекты")
PROJECTS_COMMAND = Text(en="what you saved", ru="что вы сохранили")
SAVE_BUTTON = Text(en="💾 Save", ru="💾 Сохранить")

NO_PROJECTS = Text(
    en="There are no projects yet. Begin one, or press “💾 Save” under a result.",
    ru="Проектов пока нет. Создайте первый или нажмите «💾 Сохранить» под результатом.",
)
EMPTY_PROJECT = Text(
    en="Nothing is in here yet: press “💾 Save” under a result.",
    ru="Здесь пока пусто: нажмите «💾 Сохранить» под результатом.",
)
CHOOSE_RESULT = Text(en="Press a number to see it again.", ru="Нажмите номер, чтобы увидеть снова.")
RESULTS = Counted(
    en={"one": "{n} result", "other": "{n} results"},
    ru={"one": "{n} результат", "few": "{n} результата", "many": "{n} результатов", "other": "{n} результата"},
)
UNNAMED = Text(en="(no name)", ru="(без названия)")
DATE = Text(en="%Y-%m-%d", ru="%d.%m.%Y")
NEWEST = Text(en="« Newest", ru="« Последние")
OLDER = Text(en="Older »", ru="Раньше »")
BACK = Text(en="« My projects", ru="« Мои проекты")

NEW = Text(en="➕ New project", ru="➕ Новый проект")
RENAME = Text(en="✏️ Rename", ru="✏️ Переименовать")
DELETE = Text(en="🗑 Delete", ru="🗑 Удалить")
HOW_NAMED = Text(
    en="What is the project to be called? Reply to this message.",
    ru="Как назвать проект? Ответьте на это сообщение.",
)
HOW_RENAMED = Text(
    en="What is “{name}” to be called from now on? Reply to this message.",
    ru="Как теперь назвать «{name}»? Ответьте на это сообщение.",
)
NAME_HINT = Text(en="Name of the project", ru="Название проекта")
TOO_LONG = Text(
    en="A name has at most {most} characters, this one has {n}.",
    ru="В названии может быть не больше {most} символов, а здесь {n}.",
)
ONE_LINE = Text(
    en="A name is one line of plain characters.",
    ru="Название – одна строка обычных символов.",
)
TOO_MANY = Text(
    en="You have {most} projects, and there can be no more. Delete one first: /projects",
    ru="У вас уже {most} проектов, больше нельзя. Сначала удалите какой-нибудь: /projects",
)

REALLY_DELETE = Text(
    en="Delete “{name}” with everything in it ({results})? There is no way back.",
    ru="Удалить «{name}» со всем содержимым ({results})? Вернуть будет нельзя.",
)
YES_DELETE = Text(en="Yes, delete", ru="Да, удалить")
CANCEL = Text(en="Cancel", ru="Отмена")
DELETED = Text(en="“{name}” is deleted.", ru="Проект «{name}» удалён.")
NO_SUCH_PROJECT = Text(en="There is no such project.", ru="Такого проекта нет.")

REMOVE = Text(en="🗑 Remove from the project", ru="🗑 Убрать из проекта")
REMOVED = Text(en="Removed from “{name}”.", ru="Убрано из проекта «{name}».")
NO_SUCH_RESULT = Text(en="That is not in your projects any more.", ru="Этого в ваших проектах больше нет.")
NOTHING_KEPT = Text(en="Nothing was kept of this result.", ru="От этого результата ничего не сохранилось.")
NOT_DELIVERED = Text(en="This file has not reached Telegram.", ru="Этот файл так и не попал в Telegram.")

WHERE_TO = Text(en="Save into which project?", ru="В какой проект сохранить?")
SAVED = Text(en="✅ Saved in “{name}”.", ru="✅ Сохранено в «{name}».")
OPEN = Text(en="Open the project", ru="Открыть проект")
CANNOT_SAVE = Text(en="This result cannot be saved any more.", ru="Этот результат уже не сохранить.")
NOT_YET = Text(
    en="This result is still on its way. Press again in a moment.",
    ru="Этот результат ещё доставляется. Нажмите снова через минуту.",
)
