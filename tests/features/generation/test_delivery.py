"""Whoever ordered something hears how it ended: at least once, and in all but a crash just once."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import Unavailable, Upstream
from service.features.generation import delivery
from service.features.generation.delivery import BATCH, deliver, deliver_results
from service.features.generation.providers.provider import File, Output
from service.features.generation.queue import table
from service.features.generation.queue.table import Undelivered
from service.features.generation.work import Ended, Result
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.sandbox import Person
from tests.features.generation.bot.studio import labels, rooms_of
from tests.payments.bot.shop import Shop

# A width and a height of PNG's header are all that the sandbox reads.
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (3).to_bytes(4, "big") + (2).to_bytes(4, "big")
NARROW = PNG[:16] + (300).to_bytes(4, "big") + (2).to_bytes(4, "big")


def result(person: Person, output: Output | None, **fields: Any) -> Result:
    told = {"job_id": uuid4(), "user_id": person.id, "chat_id": person.id, "language": "en", "model_id": "qr"}
    return Result(**{**told, "price_rub": 0, "status": "success", "output": output, **fields})


async def ended(raw: Any, person: Person, **columns: Any) -> UUID:
    """A job that succeeded with a text, and of which nobody was told."""
    row = {
        "job_id": uuid4(),
        "user_id": person.id,
        "chat_id": person.id,
        "language": "en",
        "model_id": "qr",
        "prompt": "x",
        "timeout_s": 1,
        "status": "success",
        "outputs": json.dumps({"text": "A fox"}),
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"${at + 1}" for at in range(len(row)))
    await raw.execute(
        f"INSERT INTO generation_jobs ({names}, place, due_at, finished_at) VALUES ({places}, now(), now(), now())",
        *row.values(),
    )
    return row["job_id"]


async def due_again(raw: Any) -> None:
    await raw.execute("UPDATE generation_jobs SET due_at = now() WHERE due_at IS NOT NULL")


async def row_of(raw: Any, job_id: UUID) -> dict[str, Any]:
    row = await raw.fetchrow("SELECT * FROM generation_jobs WHERE job_id = $1", job_id)
    return {**row, "outputs": row["outputs"] and json.loads(row["outputs"])}


def heard(person: Person) -> list[str]:
    return [one.text for one in person.chat if one.from_bot]


@pytest.fixture
async def payer(studio: Shop) -> Person:
    studio.payer.send("/start")
    await studio.payer.hears("Hello")
    return studio.payer


async def test_a_text(studio: Shop, payer: Person) -> None:
    kept = await deliver(rooms_of(studio), result(payer, Output("A fox")))
    assert kept == {"text": "A fox"}
    assert labels((await payer.hears("A fox")).buttons)[0] == "🔁 Repeat"


async def test_a_picture_is_known_by_its_id_from_then_on(studio: Shop, payer: Person) -> None:
    kept = await deliver(rooms_of(studio), result(payer, Output("A fox", File("fox.png", "image/png", PNG))))
    assert kept is not None
    shown = (await payer.hears("A fox")).wire["photo"][-1]
    assert kept == {
        "text": "A fox",
        "name": "fox.png",
        "media_type": "image/png",
        "file_id": shown["file_id"],
        "method": "sendPhoto",
    }
    again = {"chat_id": payer.id, "photo": kept["file_id"]}
    assert await studio.served.operations.bot.call(str(kept["method"]), again)


async def test_what_is_no_photo_to_telegram_comes_as_a_document(studio: Shop, payer: Person) -> None:
    kept = await deliver(rooms_of(studio), result(payer, Output(None, File("лис.png", "image/png", NARROW))))
    shown = (await payer.hears("🎨 QR code")).wire["document"]
    assert (shown["file_name"], shown["mime_type"]) == ("лис.png", "image/png")
    assert kept is not None
    assert (kept["method"], kept["file_id"]) == ("sendDocument", shown["file_id"])


async def test_the_message_about_the_progress_goes_first(studio: Shop, payer: Person) -> None:
    sent = await studio.served.operations.bot.call("sendMessage", {"chat_id": payer.id, "text": "⏳"})
    told = result(payer, Output("A fox"), progress_message_id=sent["message_id"])
    for _ in range(2):  # that it is gone already is no reason not to deliver
        await deliver(rooms_of(studio), told)
    assert heard(payer)[1:] == ["A fox", "A fox"]


async def test_a_failure_is_a_sentence(studio: Shop, payer: Person) -> None:
    assert await deliver(rooms_of(studio), result(payer, None, status="failed", model_id="gone")) is None
    await payer.hears("😔 gone: it did not work out.")


async def test_nothing_is_not_delivered(studio: Shop, payer: Person) -> None:
    assert await deliver(rooms_of(studio), result(payer, Output())) is None
    assert len(heard(payer)) == 1


async def test_it_does_not_take_for_ever(studio: Shop, payer: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DELIVERED_WITHIN_S", 0.05)
    studio.sandbox.faults.hang("sendMessage")
    with pytest.raises(Upstream, match="in time"):
        await deliver(rooms_of(studio), result(payer, Output("A fox")))


async def test_recovery_tells_each_once(studio: Shop, payer: Person, raw: Any) -> None:
    text = await ended(raw, payer)
    file = {"name": "fox.png", "media_type": "image/png"}
    picture = await ended(raw, payer, outputs=json.dumps(file), file=PNG)
    sorry = await ended(raw, payer, status="timeout", outputs=None, error_code="timeout", price_rub=5)
    counts = await asyncio.gather(*(deliver_results(rooms_of(studio)) for _ in range(3)))
    assert sum(one["delivered"] for one in counts) == 3
    assert sorted(heard(payer)[1:]) == [
        "A fox",
        "🎨 QR code",
        "😔 QR code: it did not work out. It took too long. Try again later. You were not charged.",
    ]
    rows = {job_id: await row_of(raw, job_id) for job_id in (text, picture, sorry)}
    assert all(row["delivered_at"] and row["due_at"] is None and row["file"] is None for row in rows.values())
    assert rows[text]["outputs"] == {"text": "A fox"}
    assert rows[picture]["outputs"].keys() == {"name", "media_type", "file_id", "method"}
    assert rows[sorry]["outputs"] is None
    assert await deliver_results(rooms_of(studio)) == {"delivered": 0}


async def test_what_no_table_holds_is_delivered_without(studio: Shop, payer: Person, raw: Any) -> None:
    job_id = await ended(raw, payer, status="running", instance_id=uuid4(), outputs=None, lease=1)
    now = rooms_of(studio).of(Clock).now()
    made = Ended(job_id, 1, "success", Output("A\0 fox"), due_at=now)
    async with rooms_of(studio).of(Database).acquire() as conn:
        assert await table.finish(conn, [made], now) == {job_id}
    assert await deliver_results(rooms_of(studio)) == {"delivered": 1}
    await payer.hears("A fox")


async def test_more_than_a_batch(studio: Shop, payer: Person, raw: Any) -> None:
    for _ in range(BATCH + 1):
        await ended(raw, payer, outputs=json.dumps({}))
    assert await deliver_results(rooms_of(studio)) == {"delivered": BATCH + 1}
    assert len(heard(payer)) == 1, "there was nothing to send"


async def test_who_blocked_the_bot_is_done_with(studio: Shop, payer: Person, raw: Any) -> None:
    job_id = await ended(raw, payer)
    await payer.blocks()
    assert await deliver_results(rooms_of(studio)) == {"delivered": 1}
    row = await row_of(raw, job_id)
    assert (row["outputs"], row["delivered_at"] is None) == ({"text": "A fox"}, False)


async def test_while_telegram_is_down_nobody_counts_as_told(studio: Shop, payer: Person, raw: Any) -> None:
    job_id = await ended(raw, payer)
    studio.sandbox.faults.fail("sendMessage", status=500)
    with pytest.raises(Unavailable):
        await deliver_results(rooms_of(studio))
    assert await deliver_results(rooms_of(studio)) == {"delivered": 0}, "another try in a minute"
    assert (await row_of(raw, job_id))["delivered_at"] is None
    await due_again(raw)
    assert await deliver_results(rooms_of(studio)) == {"delivered": 1}
    assert heard(payer)[1:] == ["A fox"]


async def test_what_cannot_be_told_is_given_up_one_day(studio: Shop, payer: Person, raw: Any) -> None:
    job_id = await ended(raw, payer, deliveries=delivery.MOST_DELIVERIES - 1)
    studio.sandbox.faults.fail("sendMessage", status=500)
    assert await deliver_results(rooms_of(studio)) == {"delivered": 1}
    assert (await row_of(raw, job_id))["delivered_at"] is not None


def test_a_row_is_a_result() -> None:
    fields = {"user_id": 5, "chat_id": -7, "language": "ru", "model_id": "qr", "price_rub": 3, "status": "success"}
    row = Undelivered(
        job_id=UUID(int=7),
        **fields,
        outputs=json.dumps({"text": "A fox", "name": "fox.png", "media_type": "image/png"}),
        file=PNG,
        error_code=None,
        progress_message_id=9,
        deliveries=1,
    )
    output = Output("A fox", File("fox.png", "image/png", PNG))
    assert row.result == Result(job_id=UUID(int=7), **fields, output=output, progress_message_id=9)
