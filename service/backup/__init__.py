"""Backups: taken, verified, thinned out, brought back, and taken again by themselves where the settings say so.

It knows pg_dump and its sisters, encryption and where backups are stored; it knows no feature. Of money it knows the
tables that their rooms own, and the check that `ledger verify` runs.
"""

from service.backup.schedule import jobs

__all__ = ["jobs"]
