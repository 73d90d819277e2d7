"""Every error that crosses a room's door, in one tree.

It knows codes and sentences; it knows nothing of HTTP statuses or Telegram texts, which each door keeps in
a table of its own. The docstring of a class is its default message, so the two cannot drift.

    ServiceError
      Invalid  Unauthorized  Forged  NotFound  Conflict  TooLarge
      UserMissing
      TransactionConflict
      Upstream
      ConnectionShared
      Unavailable
        DatabaseAway  ConnectionLost  DeadlineExceeded  PoolExhausted  SchemaDrift  FeatureOff
"""

from __future__ import annotations


class ServiceError(Exception):
    """Something went wrong."""

    code = "internal"
    retryable = False
    permanent = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def message(self) -> str:
        return str(self.args[0])


class Invalid(ServiceError):
    """The request is not valid."""

    code = "invalid"
    permanent = True


class Unauthorized(ServiceError):
    """Authentication is required."""

    code = "unauthorized"
    permanent = True


class Forged(Unauthorized):
    """The message is not authentic."""

    code = "forged"


class NotFound(ServiceError):
    """There is no such thing."""

    code = "not_found"
    permanent = True


class Conflict(ServiceError):
    """The request conflicts with what is stored."""

    code = "conflict"
    permanent = True


class TooLarge(ServiceError):
    """The request is too large."""

    code = "too_large"
    permanent = True


class UserMissing(ServiceError):
    """A row refers to a user that does not exist."""

    code = "user_missing"
    retryable = True


class TransactionConflict(ServiceError):
    """The transaction collided with another one."""

    code = "transaction_conflict"
    retryable = True


class Upstream(ServiceError):
    """A service that we call refused or did not answer."""

    code = "upstream"

    def __init__(
        self, message: str | None = None, *, permanent: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retryable = not permanent
        self.retry_after = retry_after


class ConnectionShared(ServiceError):
    """Two tasks used one database connection at the same time; each task must acquire its own."""

    code = "connection_shared"


class Unavailable(ServiceError):
    """The service cannot do this at the moment."""

    code = "unavailable"
    retryable = True


class DatabaseAway(Unavailable):
    """The database is away."""

    code = "database_away"


class ConnectionLost(Unavailable):
    """The connection to the database broke; what was under way may or may not have been committed."""

    code = "connection_lost"


class DeadlineExceeded(Unavailable):
    """The work did not finish in its time."""

    code = "deadline_exceeded"


class PoolExhausted(Unavailable):
    """No database connection became free in time."""

    code = "pool_exhausted"


class SchemaDrift(Unavailable):
    """A table, column or privilege that a query needs is missing."""

    code = "schema_drift"


class FeatureOff(Unavailable):
    """This feature is switched off."""

    code = "feature_off"
