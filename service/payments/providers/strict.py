"""What a processor wrote, read without guessing: strict JSON, its fields, exact amounts. Pure.

It knows JSON, text, identifiers and currencies; it knows no processor, and never lets a float become money.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from service.catalog.currency import EXPONENTS
from service.errors import Invalid
from service.payments.event import Money

Step = str | int  # a key of an object, or a place in a list
Object = dict[str, Any]

DEPTH_MAX = 32  # the deepest of the collected samples has 8
DIGITS_MAX = 20  # of a whole number; 2^63 has 19
TEXT_MAX = 255  # characters of an identifier or a code
SHOWN_MAX = 32  # characters of a faulty value that an error repeats
WHOLE_MAX = 10**12 - 1  # minor units, or roubles: what numeric(14, 2) holds
BIGINT_MAX = 2**63 - 1

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,11})\.[0-9]{2}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")


class NotMoney(Invalid):
    """An amount or a currency that we cannot take for money. What is authentic otherwise is for review."""


def read(body: bytes) -> Object:
    """The object that the body is. Raises Invalid.

    UTF-8 without a mark at its beginning, no key twice, no NaN, bounded in depth and digits. A number with a fraction
    or an exponent stays a float, which none of the readers below accepts.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_whole, parse_float=_finite
        )
    except RecursionError:
        raise Invalid("the JSON is nested too deeply") from None
    except ValueError as error:  # of decoding, too
        raise Invalid(f"not JSON in UTF-8: {getattr(error, 'msg', 'not UTF-8')}") from None
    if not isinstance(value, dict):
        raise Invalid("the JSON is no object")
    _measure(value, DEPTH_MAX)
    return value


def written(value: Object) -> bytes:
    """JSON that `read` reads as the same."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def at(value: Any, *path: Step) -> Any:
    """What stands there, or None."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def mapping(value: Object, *path: Step) -> Object:
    found = at(value, *path)
    return found if isinstance(found, dict) else _wrong(path, "an object", found)


def listing(value: Object, *path: Step) -> list[Any]:
    found = at(value, *path)
    return found if isinstance(found, list) else _wrong(path, "a list", found)


def boolean(value: Object, *path: Step) -> bool:
    found = at(value, *path)
    return found if isinstance(found, bool) else _wrong(path, "true or false", found)


def whole(value: Object, *path: Step, low: int = 0, high: int = WHOLE_MAX) -> int:
    """A whole number within its bounds, both included; true and 1.0 are none."""
    found = at(value, *path)
    fits = type(found) is int and low <= found <= high
    return int(found) if fits else _wrong(path, f"a whole number from {low} to {high}", found)


def text(value: Object, *path: Step, pattern: str | None = None, longest: int = TEXT_MAX) -> str:
    """A text that can be stored: not empty, printable (no NUL, no half of a surrogate), and all of it the pattern."""
    found = at(value, *path)
    if not _is_text(found, longest):
        _wrong(path, f"text of 1 to {longest} printable characters", found)
    if pattern is not None and not re.fullmatch(pattern, found):
        _wrong(path, "text of another form", found)
    return str(found)


def optional_text(value: Object, *path: Step, pattern: str | None = None, longest: int = TEXT_MAX) -> str | None:
    """As `text`; None where it is missing, null or empty."""
    return None if at(value, *path) in (None, "") else text(value, *path, pattern=pattern, longest=longest)


def loose_text(value: Object, *path: Step) -> str | None:
    """The text where it is one that `text` would take, else None; for what others may have put there (metadata)."""
    found = at(value, *path)
    return found if _is_text(found, TEXT_MAX) else None


def optional_mapping(value: Object, *path: Step) -> Object | None:
    """As `mapping`; None where it is missing or null."""
    return None if at(value, *path) is None else mapping(value, *path)


def optional_whole(value: Object, *path: Step, low: int = 0, high: int = WHOLE_MAX) -> int | None:
    """As `whole`; None where it is missing or null."""
    return None if at(value, *path) is None else whole(value, *path, low=low, high=high)


def decimal_text(value: Object, *path: Step) -> Decimal:
    """An amount as text with two decimals: "150.00". Raises NotMoney for anything else, also for a number."""
    found = at(value, *path)
    if not isinstance(found, str) or not _DECIMAL.fullmatch(found):
        raise NotMoney(f'{_named(path)}: an amount like "150.00" is expected, not {_shown(found)}')
    return Decimal(found)


def currency(value: Object, *path: Step) -> str:
    """Three Latin letters, in capitals. Raises NotMoney."""
    found = at(value, *path)
    if not isinstance(found, str) or not _CURRENCY.fullmatch(found):
        raise NotMoney(f"{_named(path)}: a currency is expected, not {_shown(found)}")
    return found.upper()


def minor(amount: int, code: str) -> Money:
    """Money out of minor units (kopeks, cents, Stars). Raises NotMoney for a currency whose exponent is not known."""
    if not 0 <= amount <= WHOLE_MAX:
        raise NotMoney(f"an amount from 0 to {WHOLE_MAX} is expected, not {_shown(amount)}")
    return Money(Decimal(amount).scaleb(-_exponent(code)).quantize(Decimal("0.01")), code)


def minor_units(money: Money) -> int:
    """The amount in minor units, exactly. Raises NotMoney where it is no whole number of them."""
    scaled = money.amount.scaleb(_exponent(money.currency))
    if not 0 <= scaled <= WHOLE_MAX or scaled != scaled.to_integral_value():
        raise NotMoney(f"{money} is no whole number of minor units")
    return int(scaled)


def uuid_of(value: object) -> UUID | None:
    """The UUID that the text is, in its one canonical form; None for anything else."""
    return UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def user_id_of(value: object) -> int | None:
    """The Telegram id that the text is: decimal, without sign, spaces or leading zeros, below 2^63."""
    if not isinstance(value, str) or not _USER_ID.fullmatch(value) or int(value) > BIGINT_MAX:
        return None
    return int(value)


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Invalid("a key of the JSON occurs twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise Invalid(f"{constant} is no JSON")


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise Invalid(f"a number of the JSON has more than {DIGITS_MAX} digits")
    return int(digits)


def _finite(number: str) -> float:
    found = float(number)
    return found if math.isfinite(found) else _refuse("a number beyond all bounds")


def _measure(value: object, left: int) -> None:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inner and not left:
        raise Invalid(f"the JSON is nested more than {DEPTH_MAX} deep")
    for one in inner:
        _measure(one, left - 1)


def _exponent(code: str) -> int:
    if code not in EXPONENTS:
        raise NotMoney(f"the currency {_shown(code)} is none that we count")
    return EXPONENTS[code]


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable()


def _wrong(path: tuple[Step, ...], expected: str, found: object) -> NoReturn:
    raise Invalid(f"{_named(path)}: {expected} is expected, not {_shown(found)}")


def _named(path: tuple[Step, ...]) -> str:
    return ".".join(str(step) for step in path)


def _shown(value: object) -> str:
    """A piece of it that is safe in an error and in a log."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return ascii(value[: SHOWN_MAX + 1] if isinstance(value, str) else value)[:SHOWN_MAX]
