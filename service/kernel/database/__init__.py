"""The database seam: connect, prober, pool and error translation. It knows no table."""

from service.kernel.database.connect import Connection
from service.kernel.database.database import Database, DatabaseStatus
from service.kernel.database.settings import DatabaseSettings

__all__ = ["Connection", "Database", "DatabaseSettings", "DatabaseStatus"]
