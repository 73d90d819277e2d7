"""Any place of a message with anything else in it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as some

ODD = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=9), some.just([]), some.just({})
)


def mutated(message: Any) -> some.SearchStrategy[Any]:
    return some.tuples(some.sampled_from(_places(message)), ODD).map(lambda odd: _put(message, *odd))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _put(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(value[path[0]], path[1:], odd)
    return copy
