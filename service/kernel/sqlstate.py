"""From what the driver raises to what the rooms understand.

The one place that reads SQLSTATEs. It knows no table: a room names its own constraints and what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import asyncpg

from service import errors

Violations = Mapping[str, type[errors.ServiceError]]
"""Constraint name -> the error that its violation is."""

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever the driver raises: the server's words, its own, what it never expected, the socket's; TimeoutError is an
OSError.
"""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY = "25006"
_BY_CODE: dict[str, type[errors.ServiceError]] = {
    "42P01": errors.SchemaDrift,  # undefined table
    "42703": errors.SchemaDrift,  # undefined column
    "42883": errors.SchemaDrift,  # undefined function
    "42501": errors.SchemaDrift,  # insufficient privilege
    "3F000": errors.SchemaDrift,  # undefined schema
    "40001": errors.TransactionConflict,  # serialization failure
    "40P01": errors.TransactionConflict,  # deadlock
    "55P03": errors.TransactionConflict,  # lock not available
    "57014": errors.DeadlineExceeded,  # statement timeout
    "25P03": errors.ConnectionLost,  # idle in transaction for too long
    READ_ONLY: errors.ConnectionLost,  # the primary was demoted under us
    "53300": errors.PoolExhausted,  # too many connections
}
_BY_CLASS: dict[str, type[errors.ServiceError]] = {
    "08": errors.ConnectionLost,
    "57": errors.ConnectionLost,  # shutdown, crash, starting up
    "53": errors.Unavailable,  # disk full, out of memory
    "58": errors.Unavailable,  # the server's own system fails it
    "22": errors.Invalid,  # a value that the column cannot hold
    "23": errors.Conflict,  # a constraint that no room has named
}

# How the driver says that a connection is no more. Closed by the server, it also counts as released to the pool.
_GONE = re.compile("closed|closing|released")


def translate(error: BaseException, violations: Violations | None = None) -> BaseException:
    """The domain error for a driver's error, with a note of what that was; anything else comes back as it is.

    It is to be raised `from None`: what the driver says may quote a parameter, a row, an address or a user, and
    whoever logs an error logs what it came from.
    """
    translated = _translated(error, violations or {})
    if translated is not error:
        translated.add_note(f"{type(error).__name__} {getattr(error, 'constraint_name', None) or ''}".rstrip())
    return translated


def _translated(error: BaseException, violations: Violations) -> BaseException:
    if isinstance(error, errors.ServiceError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _from_server(error, violations)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return _from_client(error)
    if isinstance(error, TimeoutError):
        return errors.DeadlineExceeded()
    if isinstance(error, OSError):
        return errors.ConnectionLost()
    return error


def sqlstate_class(error: BaseException) -> str:
    """The first two characters of the SQLSTATE, "client" for what the server never said: bounded, for a label."""
    state = str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    return state[:2] or "client"


def _from_server(error: Any, violations: Violations) -> BaseException:
    code = str(error.sqlstate or "")
    named = violations.get(getattr(error, "constraint_name", None) or "")
    kind = named or _BY_CODE.get(code) or _BY_CLASS.get(code[:2])
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        kind = errors.TransactionConflict  # a cached plan outlived an ALTER TABLE; the next try plans anew
    if kind is errors.SchemaDrift:
        return kind(error.message)  # "relation ... does not exist": names a table, carries no value
    if kind is None:
        error.detail = None  # it quotes rows, and would be logged with the rest
    return kind() if kind else cast(BaseException, error)


def _from_client(error: Exception) -> BaseException:
    if "another operation is in progress" in str(error):
        return errors.ConnectionShared()
    if isinstance(error, asyncpg.InternalClientError) or _GONE.search(str(error)):
        return errors.ConnectionLost()
    return error  # a fault of the caller, such as a commit without a transaction
