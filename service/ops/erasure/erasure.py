"""Erases a person: every table that has something of his, by what its feature declares, in one transaction.

It knows declarations, the catalog, and the id that takes his place in the books; it knows no feature by name. The SQL
is in sql/erasure.sql. Why so: docs/decisions/0013-erasing-a-person.md
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from service.errors import Conflict, NotFound
from service.feature import Erasing, Feature
from service.kernel import queries
from service.kernel.database import Connection
from service.users import repo

# Ids that are nobody's: above Telegram's and those that we give, still exact in JSON. The ledger's trigger knows it.
STAND_INS = 2**52 + 2**51
STAND_INS_COUNT = 2**51
NUMBER = r"(?<![0-9])%d(?![0-9])"  # an id as it stands in words; no part of a longer one


class Erased(msgspec.Struct, frozen=True):
    """How many rows of each table were removed or kept for nobody, and when he was erased before."""

    stand_in: int
    rows: Mapping[str, int]
    erased_before: datetime | None


class PersonalTable(msgspec.Struct, frozen=True):
    """A table that has people in it."""

    relation: str


class _Count(msgspec.Struct, frozen=True):
    count: int


SQL = queries.room("erasure")
_is_money_under_way = SQL.value("is_money_under_way", bool)
_when_erased = SQL.value("when_erased", datetime)
_bury = SQL.exec("bury")
list_personal_tables = SQL.many("list_personal_tables", PersonalTable)
_his_rows = SQL.value("his_rows", str)
_remove = SQL.composed("compose_removal", _Count)
_keep = SQL.composed("compose_keeping", _Count)


def declared(features: Iterable[Feature]) -> dict[str, Erasing]:
    """What each feature says of its tables, by table."""
    return {relation: erasing for feature in features for relation, erasing in feature.erases.items()}


def tombstone(user_id: int, token: str | None) -> bytes:
    """That he was erased, for whoever has the bot's token: a plain hash of an id of ten digits is soon guessed."""
    return hmac.new((token or "").encode(), b"erased %d" % user_id, hashlib.sha256).digest()


async def erase(conn: Connection, features: Iterable[Feature], *, user_id: int, grave: bytes, now: datetime) -> Erased:
    """On the caller's transaction. Erased once more, there is nothing left to do, and nothing is done.

    Raises NotFound where nothing was ever known of him; Conflict where a table was not thought of, and where money
    of his is under way.
    """
    wanted = declared(features)
    await _require_all(conn, wanted)
    if await _is_money_under_way(conn, user_id=user_id, number=NUMBER % user_id):
        raise Conflict("What a processor said of his payments still waits: settle it, or close it, first.")
    erased_before = await _when_erased(conn, tombstone=grave)
    stand_in = STAND_INS + secrets.randbelow(STAND_INS_COUNT)
    await repo.stand_in(conn, user_id=user_id, stand_in=stand_in)
    rows = {}
    for relation, erasing in wanted.items():
        rows[relation] = await _apply(conn, relation, erasing, user_id, stand_in)
    await repo.name_stand_in(conn, started_with=f"ref_{user_id}", instead=f"ref_{stand_in}")
    rows["users"] = await repo.remove_user(conn, user_id=user_id)
    if any(rows.values()):
        await _bury(conn, tombstone=grave, now=now)
    elif erased_before is None:
        raise NotFound("There is no such user.")
    return Erased(stand_in, {relation: count for relation, count in rows.items() if count}, erased_before)


async def _require_all(conn: Connection, wanted: Mapping[str, Erasing]) -> None:
    """Raises Conflict for a table with people in it of which nobody said what erasing means."""
    there = {table.relation for table in await list_personal_tables(conn)}
    forgotten = sorted(there - wanted.keys() - {"users"})
    if forgotten:
        raise Conflict(f"Nobody has declared what erasing a person means for {', '.join(forgotten)}.")


async def _apply(conn: Connection, relation: str, erasing: Erasing, user_id: int, stand_in: int) -> int:
    """How many rows it was. A table that is not there has none."""
    his_rows = await _his_rows(
        conn,
        relation=relation,
        user_id=user_id,
        mentions=list(erasing.mentions),
        refer=[one[0] for one in erasing.refers],
        referred=[one[1] for one in erasing.refers],
        referred_by=[one[2] for one in erasing.refers],
    )
    if his_rows is None:
        return 0
    if erasing.removes:
        counts = await _remove(conn, relation=relation, his_rows=his_rows)
    else:
        counts = await _keep(
            conn,
            relation=relation,
            user_id=user_id,
            stand_in=stand_in,
            his_rows=his_rows,
            blanked=list(erasing.blanks),
            blanks=list(erasing.blanks.values()),
            names_him=list(erasing.names_him),
        )
    return counts[0].count if counts else 0
