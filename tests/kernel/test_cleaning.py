"""An error message is kept without secrets, on one line, and short."""

from __future__ import annotations

import time

import pytest

from service.kernel.log.cleaning import LENGTH_MAX, clean

SECRETS = {
    "https://api.telegram.org/bot123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/sendMessage": "AAEhBO",
    "Incorrect API key provided: sk-proj-abcd***1234567. See the docs": "1234567",
    "Authorization: Bearer abc.def-1": "abc.def",
    "authorization=basic dXNlcjpwYXNz": "dXNlcjpwYXNz",
    '{"api_key": "hush-hush", "max_tokens": 5}': "hush-hush",
    "GET https://api.example.org/v1?key=hush&seed=1": "hush",
    "access_token=hush": "hush",
    "password: hush2": "hush2",
    "cannot connect to postgres://worker:hu:sh@db.example.org/x": "hu:sh",
    "proxy https://user:hu@sh@proxy.example.org failed": "hu@sh",
    "key AIzaSyA1234567890abcdefghijklmnopqrstu is wrong": "AIzaSy",
    "polar_oat_abcdefghijkl": "abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "eyJ",
    "secret\x00=\nhush": "hush",
}


@pytest.mark.parametrize(("said", "secret"), SECRETS.items())
def test_secrets_are_taken_out(said: str, secret: str) -> None:
    assert secret not in clean(said)
    assert "***" in clean(said)


@pytest.mark.parametrize(
    "said",
    [
        "The prompt was refused by the safety system",
        "429: rate limit reached, try again in 20 s",
        "keyword argument, token count 5, see https://example.org:8080/docs@2x",
        "Модель не отвечает",
    ],
)
def test_the_rest_stays(said: str) -> None:
    assert clean(said) == said


def test_it_is_one_line_without_control_characters() -> None:
    assert clean("one\r\n two\x00\x1b[31mthree\u202e\ud800") == "one two [31mthree"


def test_it_is_cut_after_the_secrets_are_gone() -> None:
    """A secret that is cut in two would be no secret any more for whoever looks for it."""
    said = clean("x" * (LENGTH_MAX - 10) + " key=" + "s" * 10_000)
    assert len(said) <= LENGTH_MAX
    assert "s" not in said
    assert clean("y" * 10_000) == "y" * (LENGTH_MAX - 1) + "…"


@pytest.mark.parametrize("said", ["key" * 100_000, "a-" * 100_000, "://" * 100_000, "sk-" * 100_000, ":@" * 100_000])
def test_nobody_makes_it_slow(said: str) -> None:
    started = time.process_time()
    clean(said)
    assert time.process_time() - started < 0.5
