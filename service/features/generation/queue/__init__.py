"""The queue: its table, the bell that wakes workers, the worker, and what mends it after a crash.

It knows leases and places; it knows no message to a person.
"""
