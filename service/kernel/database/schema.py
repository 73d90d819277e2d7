"""What the database holds for us: relations, columns and privileges, in one snapshot.

It knows the catalog; it knows no table by name. A view that stands where a table is wanted counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from service.kernel import queries
from service.kernel.database.connect import Connection


class Relation(msgspec.Struct, frozen=True):
    """A table or view as the current role sees it."""

    relation: str
    columns: list[str]
    privileges: list[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """The relations that were found, by name."""

    relations: Mapping[str, Relation]


_probe_relations = queries.room("kernel").many("probe_relations", Relation)


async def probe(conn: Connection, relations: Iterable[str]) -> Schema:
    """Look the relations up through search_path, in one query. Takes no lock."""
    found = await _probe_relations(conn, relations=sorted(relations))
    return Schema({relation.relation: relation for relation in found})
