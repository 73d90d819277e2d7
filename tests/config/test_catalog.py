"""catalog.toml: what is sold, and every fault of it at once."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from service import catalog
from service.config import ConfigError
from service.features.generation.providers import CHECKS
from service.text import Text
from tests.serving import config_for, serving

ROOT = Path(__file__).resolve().parents[2]
PACK = """
[[packs]]
id = "small"
credit_rub = "300"
prices = { RUB = "299.90", XTR = 230 }
"""


SHELF = """
[[categories]]
id = "tools"
title = { en = "Free", ru = "Бесплатно" }
"""
MODEL = """
[[models]]
id = "qr"
title = { en = "QR code", ru = "QR-код" }
category = "tools"
price_rub = 0
provider = "local"
params = { kind = "qr" }
"""


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        catalog.parse(text, CHECKS)
    return caught.value.faults


def test_the_one_that_ships() -> None:
    shipped = catalog.load(ROOT / "catalog.toml", CHECKS)
    assert [pack.id for pack in shipped.packs] == ["small", "medium", "large"]
    assert all({"RUB", "USD", "XTR"} == set(pack.prices) for pack in shipped.packs)
    assert shipped.referral_percent == Decimal(10)
    assert {model.provider for model in shipped.models} == set(CHECKS), "one of each, to learn from"
    assert {model.category for model in shipped.models} == {category.id for category in shipped.categories}
    assert {model.id for model in shipped.models if model.is_free} == {"qr", "card"}
    assert [model.id for model in shipped.models if model.at_once] == ["fine"]


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


def test_a_model() -> None:
    sold = catalog.parse(SHELF + MODEL, CHECKS)
    model = sold.model("qr")
    assert model is not None
    assert model.is_free
    assert (model.prompt_max, model.timeout_s, model.at_once) == (4_000, 120, None)
    assert sold.model("another") is None
    dearer = MODEL.replace("price_rub = 0", 'price_rub = "9.90"\nprompt_max = 10\ntimeout_s = 5\nat_once = 2')
    model = catalog.parse(SHELF + dearer, CHECKS).model("qr")
    assert model is not None
    assert (model.is_free, model.price_rub) == (False, Decimal("9.90"))
    assert (model.prompt_max, model.timeout_s, model.at_once) == (10, 5, 2)


def test_every_fault_of_models_is_named_at_once() -> None:
    broken = """
    jobs_per_person = 0
    [[categories]]
    id = "tools"
    [[models]]
    id = "one"
    title = { en = "One", ru = "Один" }
    category = "texts"
    price_rub = "-1"
    provider = "nobody"
    prompt_max = 4001
    timeout_s = 0
    at_once = true
    [[models]]
    id = "one"
    title = "One"
    category = "tools"
    price_rub = 0
    provider = "local"
    colour = "red"
    """
    assert faults(broken) == (
        "categories 1: title: is missing",
        'models 1: price_rub: must be an amount in quotes, such as "150.00"',
        "models 1: prompt_max: must be a whole number from 1 to 4000",
        "models 1: timeout_s: must be a whole number from 1 to 86400",
        "models 1: at_once: must be a whole number from 1 to 1000",
        'models 2: title: must be { en = "...", ru = "..." }',
        "models 2: colour: is not known here",
        "jobs_per_person: must be a whole number from 1 to 1000",
        "models: one is there twice",
        "models 1: category: there is no texts",
        "models 1: provider: must be one of local, openai, task",
        "models 2: params: kind: is missing",
    )


@pytest.mark.parametrize(
    ("provider", "params", "found"),
    [
        ("local", 'kind = "song"', ["kind: must be one of qr, card"]),
        ("local", 'kind = "qr", size = 5', ["size: is not known here"]),
        ("openai", 'kind = "chat"', ["model: is missing"]),
        ("openai", 'kind = "chat", model = " ", size = "1x1"', ["model: must be a text", "size: is not known here"]),
        ("openai", 'kind = "chat", model = "m", temperature = 3', ["temperature: must be a number from 0 to 2"]),
        (
            "openai",
            'kind = "chat", model = "m", max_tokens = 1.5',
            ["max_tokens: must be a whole number from 1 to 1000000"],
        ),
        ("openai", 'kind = "image", model = "m", system = "x"', ["system: is not known here"]),
        ("openai", 'kind = ["chat"], model = "m"', ["kind: must be one of chat, image"]),
        ("task", 'input = "x"', ["version: is missing", "input: must be a table"]),
        ("task", 'version = "a/b", prompt = 1, key = "x"', ["prompt: must be a text", "key: is not known here"]),
    ],
)
def test_a_provider_checks_its_parameters(provider: str, params: str, found: list[str]) -> None:
    model = MODEL.replace('"local"', f'"{provider}"').replace('kind = "qr"', params)
    assert list(faults(SHELF + model)) == [f"models 1: params: {fault}" for fault in found]


@pytest.mark.parametrize(
    ("provider", "params"),
    [
        ("local", 'kind = "card"'),
        ("openai", 'kind = "chat", model = "m", system = "x", temperature = 0, top_p = 0.5, max_tokens = 9'),
        ("openai", 'kind = "image", model = "m", size = "1024x1024", quality = "low", output_format = "png"'),
        ("task", 'version = "a/b", prompt = "text", input = { steps = 4 }'),
    ],
)
def test_parameters_that_a_provider_takes(provider: str, params: str) -> None:
    model = MODEL.replace('"local"', f'"{provider}"').replace('kind = "qr"', params)
    assert catalog.parse(SHELF + model, CHECKS).model("qr")


def test_no_toml() -> None:
    (fault,) = faults("packs = [")
    assert fault.startswith("is no TOML: ")


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(catalog.load(Path("catalog.toml"), CHECKS).packs) == 3, "beside the service"
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
