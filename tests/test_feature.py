"""What is on: decided from a manifest, a snapshot of the schema and the settings, and from nothing else."""

from __future__ import annotations

import pytest

from service.config import Config
from service.feature import Feature, Menu, Off, On, Rooms, State, owns, reads, relations_of, resolve
from service.kernel.database.schema import Relation, Schema
from service.text import Text
from tests.serving import config_for

ALL = ["SELECT", "INSERT", "UPDATE", "DELETE"]
TITLE = Text(en="Events", ru="События")
EVENTS = Feature(
    "diagnostics", TITLE, needs={"generation_events": owns("event_id", "created_at"), "users": reads("user_id")}
)


def schema(*relations: Relation) -> Schema:
    return Schema({relation.relation: relation for relation in relations})


def events(*columns: str, privileges: list[str] = ALL) -> Relation:
    return Relation("generation_events", list(columns), privileges)


USERS = Relation("users", ["user_id", "username"], ["SELECT"])
WHOLE = events("event_id", "created_at", "more")


@pytest.fixture(scope="module")
def config() -> Config:
    return config_for("postgresql://nobody@127.0.0.1:9/nowhere")


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (None, On()),
        (schema(WHOLE, USERS), On()),
        (schema(USERS), Off("generation_events table missing", ("generation_events",))),
        (
            schema(),
            Off("generation_events table missing, users table missing", ("generation_events", "users")),
        ),
        (
            schema(events("event_id"), USERS),
            Off("generation_events.created_at column missing", ("generation_events.created_at",)),
        ),
        (
            schema(events("more"), USERS),
            Off(
                "generation_events.created_at column missing, generation_events.event_id column missing",
                ("generation_events.created_at", "generation_events.event_id"),
            ),
        ),
        (
            schema(events("event_id", "created_at", privileges=["SELECT", "INSERT", "UPDATE"]), USERS),
            Off("no DELETE privilege on generation_events", ("generation_events:DELETE",)),
        ),
        (
            schema(WHOLE, Relation("users", ["user_id"], [])),
            Off("no SELECT privilege on users", ("users:SELECT",)),
        ),
    ],
)
def test_the_schema_decides(config: Config, found: Schema | None, state: State) -> None:
    assert resolve([EVENTS], found, config) == {"diagnostics": state}


def test_settings_come_before_the_schema(config: Config) -> None:
    asked: list[Config] = []

    def requires(given: Config) -> str | None:
        asked.append(given)
        return "STRIPE_SECRET_KEY is not set"

    feature = Feature("stripe", TITLE, needs=EVENTS.needs, requires=requires)
    for found in (None, schema(), schema(WHOLE, USERS)):
        assert resolve([feature], found, config) == {"stripe": Off("STRIPE_SECRET_KEY is not set")}
    assert asked == [config] * 3
    satisfied = Feature("stripe", TITLE, needs=EVENTS.needs, requires=lambda _config: None)
    assert resolve([satisfied], schema(WHOLE, USERS), config) == {"stripe": On()}


def test_each_feature_stands_for_itself(config: Config) -> None:
    plain = Feature("plain", TITLE)
    assert resolve([EVENTS, plain], schema(), config)["plain"] == On()
    assert relations_of([EVENTS, plain]) == {"generation_events", "users"}


def test_a_state_shows_the_same_everywhere() -> None:
    assert (On().state, On().reason, On().missing) == ("on", "", ())
    assert (Off("why").state, Off("why").missing) == ("off", ())


def test_rooms_are_found_by_type_and_never_change() -> None:
    rooms = Rooms({int: 1})
    more = rooms.with_({str: "a", int: 2})
    assert (rooms.of(int), more.of(int), more.of(str)) == (1, 2, "a")
    with pytest.raises(KeyError):
        rooms.of(str)


def test_a_menu_gathers_all_in_order() -> None:
    one = Feature("one", TITLE, menu=Menu((TITLE,), (("one", TITLE),)))
    other = Feature("other", TITLE, menu=Menu((), (("other", TITLE), ("more", TITLE))))
    assert Menu.of([one, other]) == Menu((TITLE,), (("one", TITLE), ("other", TITLE), ("more", TITLE)))
