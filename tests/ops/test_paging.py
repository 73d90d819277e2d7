"""Cursors and limits."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.errors import Invalid
from service.ops import paging

times = some.datetimes(timezones=some.just(UTC))
ids = some.integers(0, 2**63 - 1)


@given(times, ids, some.text())
def test_a_position_comes_back_as_it_was(at: datetime, user_id: int, name: str) -> None:
    assert paging.position(paging.cursor((at, user_id)), paging.BY_TIME) == (at, user_id)
    assert paging.position(paging.cursor((user_id, name)), paging.BY_NAME) == (user_id, name)


@given(some.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        paging.position(text + "!", paging.BY_TIME)


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[1, 2]", b'["2026-01-01T00:00:00", 1]', b'["2026-01-01T00:00:00Z", -1]', b"\xff", b"1"]
)
def test_what_is_no_position_of_this_list_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        paging.position(base64.urlsafe_b64encode(raw).decode(), paging.BY_TIME)


@pytest.mark.parametrize("text", ["0", "501", "-1", "ten", "", "1e2", "٣", "9" * 5000])
def test_a_limit_is_within_bounds(text: str) -> None:
    with pytest.raises(Invalid):
        paging.limit({"limit": text})


def test_the_last_page_has_no_next() -> None:
    assert paging.limit({}) == paging.LIMIT
    assert paging.page([1, 2, 3], 3, int) == {"items": [1, 2, 3], "next": None}
    assert paging.page([1, 2, 3, 4], 3, int) == {"items": [1, 2, 3], "next": paging.cursor(3)}
