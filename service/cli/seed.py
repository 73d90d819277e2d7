"""`python -m service seed`: people to try things out with, on a developer's machine.

It knows the users room; what it makes, it makes by the same statement as the bot.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from service.cli.connection import over_connection
from service.config import Config
from service.errors import Invalid
from service.kernel.database import Connection
from service.users import repo
from service.users.user import Profile

TEST_USER = Profile(123456789, "testuser", "Test", "User", "en")
# Ids that Telegram never gives: nobody who writes to the bot can turn out to be one of these people.
FIRST_DEMO_ID = 2**52 + 1_000
DEMO_PEOPLE = 200
# One in this many has left, so that the lists of both kinds have somebody on them.
LEFT_EVERY = 9
ENGLISH = (
    ("Alice", "Ben", "Clara", "Daniel", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack"),
    ("Baker", "Cole", "Fisher", "Grant", "Hughes", "Lane", "Miller", "Reed", "Shaw", "Wood"),
)
RUSSIAN = (
    ("Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Жанна", "Иван", "Кира", "Лев"),
    ("Бондаренко", "Гончар", "Кравец", "Левитан", "Мельник", "Палий", "Романенко", "Савченко", "Ткач", "Шевчук"),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "put a test user into a development database"
    parser = subparsers.add_parser("seed", help=text, description=text)
    parser.add_argument("--demo", action="store_true", help=f"and {DEMO_PEOPLE} more people")
    parser.set_defaults(run=seed)


def seed(arguments: argparse.Namespace, config: Config) -> int:
    """Twice is once. Raises Invalid in production."""
    if not config.development:
        raise Invalid("this is production: only people who come make users here")
    people = [TEST_USER, *(demo_people() if arguments.demo else ())]

    created = over_connection(config, lambda conn: plant(conn, people))
    print(f"{created} of {len(people)} users are new")
    return 0


async def plant(conn: Connection, people: Sequence[Profile]) -> int:
    """Make sure of the people, and that some have left. How many are new."""
    users = await repo.ensure_users(conn, people)
    for profile in people[LEFT_EVERY::LEFT_EVERY]:
        await repo.mark_active(conn, user_id=profile.user_id, is_active=False)
    return sum(user.created for user in users.values())


def demo_people() -> list[Profile]:
    """The same ones each time: every first name with every last name, in two languages, some without a username."""
    return [_person(number) for number in range(DEMO_PEOPLE)]


def _person(number: int) -> Profile:
    which, language = number % 2, ("en", "ru")[number % 2]
    firsts, lasts = (ENGLISH, RUSSIAN)[which]
    pair = number // 2
    username = None if number % 7 == 0 else f"demo_{number:03}"
    return Profile(FIRST_DEMO_ID + number, username, firsts[pair % 10], lasts[pair // 10], language)
