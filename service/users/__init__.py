"""Users: the one essential room. Everybody may read people through it; it reads nobody else."""

from service.feature import Feature, Menu, owns
from service.text import Text
from service.users import handlers, texts

FEATURE = Feature(
    name="users",
    title=Text(en="Users", ru="Пользователи"),
    essential=True,
    needs={
        "users": owns(
            "user_id",
            "username",
            "first_name",
            "last_name",
            "language_code",
            "language",
            "is_active",
            "started_with",
            "started_at",
            "created_at",
            "updated_at",
        )
    },
    menu=Menu(
        buttons=(texts.LANGUAGE_BUTTON, texts.HELP_BUTTON),
        commands=(
            ("start", texts.START_COMMAND),
            ("menu", texts.MENU_COMMAND),
            ("language", texts.LANGUAGE_COMMAND),
            ("help", texts.HELP_COMMAND),
        ),
    ),
    router=handlers.router,
)
