"""The queries of broadcasts on a full table: which index each of them goes by, whatever the planner knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import service.app  # noqa: F401  # every room declares its queries
from service.kernel import queries
from tests.plans import Mode, explained, indexes, read_whole
from tests.postgres import Server

ROWS = 50_000
LATE = "2100-01-01Z"
ONE = "00000000-0000-0000-0000-000000000001"
FILL = (
    f"INSERT INTO users (user_id, created_at) SELECT n, now() FROM generate_series(1, {ROWS}) AS n",
    f"""
    INSERT INTO broadcasts (broadcast_id, text, segment, status, next_at, created_at, finished_at)
    SELECT CASE n WHEN 1 THEN '{ONE}'::uuid ELSE md5(n::text)::uuid END, 'x', '{{}}',
        CASE n WHEN 1 THEN 'sending' ELSE 'done' END, now(), now() - n * interval '1 hour',
        CASE WHEN n > 1 THEN now() END
    FROM generate_series(1, 3000) AS n
    """,
    f"""
    INSERT INTO broadcast_recipients (broadcast_id, user_id, status, claimed_at)
    SELECT '{ONE}', n, CASE WHEN n < 40000 THEN 'sent' ELSE 'queued' END, CASE WHEN n < 40000 THEN now() END
    FROM generate_series(1, {ROWS}) AS n
    """,
    "VACUUM ANALYZE",
)
HOT: list[tuple[str, tuple[object, ...], set[str]]] = [
    ("find_open", (), {"broadcasts_open_idx"}),
    ("claim", (ONE, 25, LATE, LATE), {"broadcast_recipients_status_idx"}),
    ("settle", (ONE, LATE, "{1,2}", "{sent,sent}", "{NULL,NULL}"), {"broadcast_recipients_status_idx"}),
    ("give_up", (LATE, 1000), {"broadcast_recipients_sending_idx"}),
    ("gather", (ONE, 1000, LATE), {"users_pkey", "broadcasts_pkey"}),
    ("list_broadcasts", (LATE, ONE, 50), {"broadcasts_recent_idx"}),
]


@pytest.fixture(scope="module")
def full(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with server.migrated() as url, psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement.encode())
        yield connection


@pytest.fixture(params=["generic", "custom"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.mark.parametrize(("name", "values", "used"), HOT, ids=[name for name, *_ in HOT])
def test_it_goes_by_its_index(
    full: psycopg.Connection[Any], name: str, values: tuple[object, ...], used: set[str], mode: Mode
) -> None:
    plan = explained(full, queries.names()[f"broadcasts.{name}"], *values, mode=mode)
    assert not read_whole(plan) & {"broadcast_recipients", "users"}
    assert used <= indexes(plan)
