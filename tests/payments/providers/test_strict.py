"""Case numbers are those of the failure cases that payment callbacks are held to."""

import json
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.catalog.currency import EXPONENTS
from service.errors import Invalid
from service.payments.event import Money
from service.payments.providers import strict
from service.payments.providers.strict import NotMoney

SAMPLES = sorted((Path(__file__).parents[2] / "data/payments").rglob("*.json"))
AN_ID = "3086206f-000f-5000-8000-1e653030dc24"


def refused(body: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        strict.read(body)
    return caught.value.message


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_collected_sample_is_read(path: Path) -> None:
    body = path.read_bytes()
    assert strict.read(body) == json.loads(body)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_what_is_written_is_read_as_the_same(path: Path) -> None:
    value = strict.read(path.read_bytes())
    assert strict.read(strict.written(value)) == value


@pytest.mark.parametrize("body", [b"", b"amount=100.00&currency=RUB", b"{", b'{"a":1}x', b"<html></html>"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Case 24: a form body is a 400, whatever its content type says."""
    assert refused(body).startswith("not JSON in UTF-8")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\xff"}',
        b'{"a":"\xc0\x80"}',  # an overlong NUL
        b'{"a":"\xed\xa0\x80"}',  # half of a surrogate
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32"),
    ],
)
def test_only_utf_8_is_read(body: bytes) -> None:
    """Case 26: invalid UTF-8, a byte order mark, UTF-16."""
    assert refused(body).startswith("not JSON in UTF-8")


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', b'{"o":{"amount":1,"amount":2}}', b'{"l":[{"a":1,"\\u0061":2}]}'])
def test_no_key_occurs_twice(body: bytes) -> None:
    """Case 27: duplicate keys, of which Python keeps the last."""
    assert "twice" in refused(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_every_number_is_finite(number: str) -> None:
    """Case 28: NaN, Infinity, and numbers that become it."""
    refused(f'{{"a":{number}}}'.encode())


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000, "9" * 21])
def test_a_number_has_no_endless_digits(digits: str) -> None:
    """Case 29: an integer of 5000 digits."""
    assert "digits" in refused(f'{{"a":{digits}}}'.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 33 + b"{}" + b"}" * 33,
        b'{"a":' + b"[" * 32 + b"1" + b"]" * 32 + b"}",
    ],
)
def test_nothing_is_nested_endlessly(body: bytes) -> None:
    """Case 29: 200 000 opening brackets."""
    assert "nested" in refused(body)


def test_as_deep_as_it_may_be() -> None:
    body = b'{"a":' + b"[" * 31 + b"1" + b"]" * 31 + b"}"
    assert strict.at(strict.read(body), "a", *[0] * 31) == 1


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"1", b"true", b"[{}]"])
def test_the_top_is_an_object(body: bytes) -> None:
    """Case 35: the top level is a list, a string, null."""
    assert refused(body) == "the JSON is no object"


@given(some.binary(max_size=200) | some.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_invalid(body: bytes) -> None:
    try:
        value = strict.read(body)
    except Invalid:
        return
    assert strict.read(strict.written(value)) == value


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(10**18), 10**18) | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=20,
)
PATHS = some.lists(some.text(max_size=2) | some.integers(-2, 4), max_size=4)
READERS = [
    strict.mapping, strict.listing, strict.boolean, strict.whole, strict.text, strict.optional_text,
    strict.optional_mapping, strict.optional_whole, strict.decimal_text, strict.currency,
]  # fmt: skip


@given(some.dictionaries(some.text(max_size=2), JSON, max_size=4), PATHS)
def test_a_reader_reads_or_says_invalid(value: dict[str, object], path: list[str | int]) -> None:
    """And what it says can be logged whatever the value was."""
    for reader in READERS:
        said = ""
        try:
            reader(value, *path)
        except Invalid as error:
            said = error.message
        assert len(said) < 150
        assert said.split(": ")[-1].isascii()


AMOUNTS = [
    True, 1, 100, 250.0, None, [], {}, "", "1", "100", "5.0", "5.000", "5.", ".50", "1e2", "1.5e1", "-5.00", "+5.00",
    " 10.00", "10.00 ", "10.00\n", "\n10.00", "1_0.00", "1,000.00", "1000,00", "00.10", "01.00", "NaN", "Infinity",
    "１０.00", "١٠.00", "10．00", "1000000000000.00", "9" * 5000 + ".00", "0x10.00",
]  # fmt: skip


@pytest.mark.parametrize("given", AMOUNTS, ids=lambda given: repr(given)[:20])
def test_an_amount_has_one_spelling(given: object) -> None:
    """Cases 30 and 32: everything that Decimal would take and nobody should, and more digits than are stored."""
    with pytest.raises(NotMoney):
        strict.decimal_text({"amount": {"value": given}}, "amount", "value")


@given(some.decimals(0, 10**12 - 1, places=2, allow_nan=False))
def test_an_amount_is_read_exactly(amount: Decimal) -> None:
    assert strict.decimal_text({"a": f"{amount:.2f}"}, "a") == amount


@pytest.mark.parametrize(
    ("amount", "currency", "money"),
    [
        (1999, "USD", "19.99"),
        (115, "EUR", "1.15"),
        (0, "RUB", "0.00"),
        (1, "RUB", "0.01"),
        (500, "JPY", "500.00"),
        (100, "XTR", "100.00"),
        (10**12 - 1, "RUB", "9999999999.99"),
    ],
)
def test_minor_units_become_money_and_back(amount: int, currency: str, money: str) -> None:
    """Case 31: never by way of a float."""
    assert strict.minor(amount, currency) == Money(Decimal(money), currency)
    assert strict.minor_units(Money(Decimal(money), currency)) == amount


@given(some.integers(0, strict.WHOLE_MAX), some.sampled_from(sorted(EXPONENTS)))
def test_minor_units_are_exact(amount: int, currency: str) -> None:
    assert strict.minor_units(strict.minor(amount, currency)) == amount


@pytest.mark.parametrize("currency", ["KWD", "BHD", "JOD", "OMR", "TND", "ISK", "UGX", "XXX", "rub", "", "RU"])
def test_a_currency_with_another_exponent_is_no_money(currency: str) -> None:
    with pytest.raises(NotMoney):
        strict.minor(1000, currency)
    with pytest.raises(NotMoney):
        strict.minor_units(Money(Decimal(1), currency))


@pytest.mark.parametrize("amount", [-1, 10**12, 10**400])
def test_minor_units_have_bounds(amount: int) -> None:
    """Case 32: more than is stored."""
    with pytest.raises(NotMoney):
        strict.minor(amount, "RUB")


@pytest.mark.parametrize(
    "money", [Money(Decimal("1.50"), "JPY"), Money(Decimal("0.001"), "RUB"), Money(Decimal(-1), "RUB")]
)
def test_money_that_is_no_whole_number_of_minor_units(money: Money) -> None:
    with pytest.raises(NotMoney):
        strict.minor_units(money)


@pytest.mark.parametrize("given", ["", "RU", "RUBL", "RUВ", "ＲＵＢ", "RUB\n", " RUB", "R1B", 643, None, True, ["RUB"]])
def test_a_currency_is_three_latin_letters(given: object) -> None:
    """Case 34: a Cyrillic В among them."""
    with pytest.raises(NotMoney):
        strict.currency({"currency": given}, "currency")


@pytest.mark.parametrize("given", ["RUB", "rub", "Rub"])
def test_a_currency_is_written_in_capitals(given: str) -> None:
    """Case 34: in whichever case it comes."""
    assert strict.currency({"currency": given}, "currency") == "RUB"


UNSTORABLE = ["a\u0000b", "\u0000", "\ud800", "a\udfffb", "a\nb", "\u202eabc", "", "x" * 256]


@pytest.mark.parametrize("given", UNSTORABLE, ids=ascii)
def test_a_text_can_be_stored(given: str) -> None:
    """Case 33: NUL and half of a surrogate are JSON, and no text of a database."""
    value = strict.read(json.dumps({"object": {"id": given}}).encode())
    with pytest.raises(Invalid, match=r"^object\.id: "):
        strict.text(value, "object", "id")
    assert strict.loose_text(value, "object", "id") is None


@pytest.mark.parametrize("given", [None, 1, True, ["a"], {"a": "b"}])
def test_a_text_is_text(given: object) -> None:
    """Case 35: values that are no strings."""
    with pytest.raises(Invalid):
        strict.text({"a": given}, "a")
    assert strict.loose_text({"a": given}, "a") is None


def test_a_text_is_all_of_its_pattern() -> None:
    assert strict.text({"a": "abc"}, "a", pattern="[a-z]+") == "abc"
    for other in ("abc1", "1abc", "abc "):
        with pytest.raises(Invalid):
            strict.text({"a": other}, "a", pattern="[a-z]+")


def test_a_long_id_is_refused_and_not_repeated() -> None:
    """Case 35: an id of 10 000 characters."""
    with pytest.raises(Invalid) as caught:
        strict.text({"id": "x" * 10_000}, "id")
    assert len(caught.value.message) < 150


def test_what_may_be_missing() -> None:
    for nothing in ({}, {"a": None}, {"a": ""}):
        assert strict.optional_text(nothing, "a") is None
    for nothing in ({}, {"a": None}):
        assert strict.optional_whole(nothing, "a") is None
        assert strict.optional_mapping(nothing, "a") is None
    assert strict.optional_text({"a": "x"}, "a") == "x"
    assert strict.optional_whole({"a": 3}, "a") == 3
    assert strict.optional_mapping({"a": {"b": 1}}, "a") == {"b": 1}
    with pytest.raises(Invalid):
        strict.optional_text({"a": 1}, "a")


@pytest.mark.parametrize("given", [True, False, 1.0, 5e0, "5", None, -1, 10**12])
def test_a_whole_number_is_one(given: object) -> None:
    """Case 30: true is an int to Python, and no number to us."""
    with pytest.raises(Invalid):
        strict.whole({"a": given}, "a")


@pytest.mark.parametrize("given", [0, 1, "true", None, 1.0])
def test_a_boolean_is_one(given: object) -> None:
    with pytest.raises(Invalid):
        strict.boolean({"a": given}, "a")


def test_paths_lead_through_lists() -> None:
    value = {"data": [{"id": "a"}, {"id": "b"}]}
    assert strict.text(value, "data", 1, "id") == "b"
    assert strict.at(value, "data", 2, "id") is None
    assert strict.at(value, "data", -1) is None
    assert strict.at(value, "data", "id") is None


def test_a_uuid_has_one_form() -> None:
    assert strict.uuid_of(AN_ID) == UUID(AN_ID)
    for other in (
        AN_ID.upper(),
        AN_ID.replace("-", ""),
        f"{{{AN_ID}}}",
        f"urn:uuid:{AN_ID}",
        f"{AN_ID}\n",
        "",
        None,
        5,
    ):
        assert strict.uuid_of(other) is None


@pytest.mark.parametrize(
    "given", ["123 ", " 123", "0123", "0", "-5", "+5", "1_0", "1.0", "１２", str(2**63), "", None, 123, True]
)
def test_a_user_id_has_one_form(given: object) -> None:
    """Case 36: ids that other readers would take."""
    assert strict.user_id_of(given) is None


@pytest.mark.parametrize("user_id", [1, 123456789, 2**52 + 1, 2**63 - 1])
def test_a_user_id_is_read(user_id: int) -> None:
    assert strict.user_id_of(str(user_id)) == user_id
