"""What operators change: each change once for its key, and each in the log of what operators did.

It knows keys, answers and rows of that log; what is changed, and what for, it does not know.
"""

from service.ops.writing.journal import FEATURE

__all__ = ["FEATURE"]
