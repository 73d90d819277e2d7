"""Erasing a person, and what that means for each table: POST /admin/users/{id}/erase, `users erase ID`.

It knows what features declare; it knows none of their tables by name but those of money, which stay.
"""

from service.ops.erasure.operators import FEATURE

__all__ = ["FEATURE"]
