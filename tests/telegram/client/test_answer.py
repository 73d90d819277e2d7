import pytest

from service.telegram.client.answer import ApiError, read


def test_a_result_is_read() -> None:
    assert read("getMe", 200, b'{"ok": true, "result": {"id": 1}}') == {"id": 1}


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"not json", 502),
        (200, b"[]", 502),
        (200, b'{"ok": "yes"}', 502),
        (404, b"<html>", 404),
        (502, b"", 502),
        (403, b'{"ok": false, "description": "Forbidden"}', 403),
    ],
)
def test_anything_else_is_a_refusal(status: int, body: bytes, told: int) -> None:
    with pytest.raises(ApiError) as caught:
        read("getMe", status, body)
    assert caught.value.status == told
    assert caught.value.permanent is (told < 500)
    assert caught.value.ambiguous is (told >= 500)


def test_a_429_without_its_time_waits_a_second() -> None:
    with pytest.raises(ApiError) as caught:
        read("getMe", 429, b'{"ok": false, "description": "Too Many Requests"}')
    assert caught.value.retry_after == 1.0
    assert caught.value.retryable
