"""SIGHUP: the catalogue is read anew, and one with faults is not taken."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.cast import FRIEND, PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE
from tests.waiting import until

CATALOG = """
[[categories]]
id = "tools"
title = {{ en = "Tools", ru = "Инструменты" }}
[[models]]
id = "{model}"
title = {{ en = "{title}", ru = "{title}" }}
category = "{category}"
price_rub = "0"
provider = "local"
params = {{ kind = "qr" }}
"""


async def test_a_new_catalogue_is_sold_without_a_restart(database_url: str, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG.format(model="old", title="Yesterday's", category="tools"))
    process = await start(database_url, SERVICE, CATALOG=str(file))
    assert "Yesterday's" in (await process.says(PAYER, "/models")).body.decode()

    file.write_text(CATALOG.format(model="new", title="Today's", category="tools"))
    process.send(signal.SIGHUP)
    await until(lambda: process.log(msg="catalogue taken", models=1))
    assert "Today's" in (await process.says(PAYER, "/models")).body.decode()

    file.write_text(CATALOG.format(model="Faulty One", title="Tomorrow's", category="nowhere"))
    process.send(signal.SIGHUP)
    await until(lambda: process.log(msg="catalogue not taken"))
    (told,) = process.log(msg="catalogue not taken")
    assert "models 1: id:" in told["faults"]
    assert "models 1: category: there is no nowhere" in told["faults"]
    assert "Today's" in (await process.says(FRIEND, "/models")).body.decode()
