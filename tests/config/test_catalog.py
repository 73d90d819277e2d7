"""catalog.toml: what is sold, and every fault of it at once."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from service import catalog
from service.config import ConfigError
from service.text import Text
from tests.serving import config_for, serving

ROOT = Path(__file__).resolve().parents[2]
PACK = """
[[packs]]
id = "small"
credit_rub = "300"
prices = { RUB = "299.90", XTR = 230 }
"""


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        catalog.parse(text, {})
    return caught.value.faults


def test_the_one_that_ships() -> None:
    shipped = catalog.load(ROOT / "catalog.toml", {})
    assert [pack.id for pack in shipped.packs] == ["small", "medium", "large"]
    assert all({"RUB", "USD", "XTR"} == set(pack.prices) for pack in shipped.packs)
    assert shipped.referral_percent == Decimal(10)


def test_a_pack() -> None:
    (pack,) = catalog.parse(PACK, {}).packs
    assert (pack.id, pack.credit_rub, pack.title) == ("small", Decimal("300.00"), None)
    assert list(pack.prices.items()) == [("RUB", Decimal("299.90")), ("XTR", Decimal("230.00"))]
    (named,) = catalog.parse(PACK + 'title = { en = "Small", ru = "Малый" }', {}).packs
    assert named.title == Text(en="Small", ru="Малый")


def test_an_empty_one_sells_nothing() -> None:
    assert catalog.parse("", {}) == catalog.Catalog(packs=(), referral_percent=Decimal(0))


def test_every_fault_is_named_at_once() -> None:
    broken = """
    referal_percent = "10"
    referral_percent = 101
    support = 5
    [[packs]]
    id = "A b"
    credit_rub = 300.0
    prices = { KWD = "1.000", XTR = "1.50", RUB = 0 }
    [[packs]]
    id = "same"
    price = { RUB = "1" }
    title = { en = "only" }
    [[packs]]
    id = "same"
    credit_rub = true
    prices = {}
    """
    assert faults(broken) == (
        "packs 1: id: must be 1 to 32 of a-z, 0-9, _ and -",
        'packs 1: credit_rub: must be an amount in quotes, such as "150.00"',
        "packs 1: prices: KWD is no currency that can be taken, XTR has whole amounts only, "
        "RUB must be more than nothing",
        "packs 2: credit_rub: is missing",
        "packs 2: prices: is missing",
        'packs 2: title: must be { en = "...", ru = "..." }',
        "packs 2: price: is not known here",
        'packs 3: credit_rub: must be an amount in quotes, such as "150.00"',
        'packs 3: prices: must be amounts by currency, such as { RUB = "150" }',
        "referral_percent: must be a percentage from 0 to 100",
        "support: must be a line of text",
        "referal_percent: is not known here",
        "packs: same is there twice",
    )


@pytest.mark.parametrize(
    "amount", ["1.5", '"1,50"', '"-1"', '"1e3"', '" 1"', '"1.505"', '"0"', "0", '"1000000000"', "[]"]
)
def test_money_is_exact(amount: str) -> None:
    """Case 30: text of digits, or a whole number; no float, no sign, no exponent."""
    (fault,) = faults(PACK.replace('"300"', amount))
    assert fault.startswith("packs 1: credit_rub: must be ")


@pytest.mark.parametrize("text", ["packs = 3", "packs = [3]", "[packs]\nid = 1"])
def test_packs_are_a_list(text: str) -> None:
    assert faults(text) == ("packs: must be a list of tables",)


def test_no_toml() -> None:
    (fault,) = faults("packs = [")
    assert fault.startswith("is no TOML: ")


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(catalog.load(Path("catalog.toml"), {}).packs) == 3, "beside the service"
    (tmp_path / "catalog.toml").write_text(PACK)
    assert len(catalog.load(Path("catalog.toml"), {}).packs) == 1, "where it runs"
    with pytest.raises(ConfigError, match=r"CATALOG: other.toml: cannot be read \(FileNotFoundError\)"):
        catalog.load(Path("other.toml"), {})
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="UnicodeDecodeError"):
        catalog.load(Path("latin.toml"), {})


async def test_a_service_with_a_bad_one_does_not_start(database_url: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("packs = 3")
    with pytest.raises(ConfigError):
        async with serving(database_url, CATALOG=str(bad)):
            pass
    environ = {
        "CATALOG": str(bad),
        "DATABASE_URL": database_url,
        "PATH": "/usr/bin",
        "PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "service", "run"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: settings: CATALOG: {bad}: packs: must be a list of tables"
    assert config_for(database_url, CATALOG=str(bad)).catalog == bad
