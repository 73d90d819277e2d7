"""A person sees how it is going, and nothing hangs on it that he does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from service.features.generation import progress
from service.features.generation.work import Claim
from service.kernel.clock import Clock
from service.sandbox import Person
from tests.features.generation.bot.studio import labels, rooms_of
from tests.payments.bot.shop import Shop
from tests.waiting import until


@pytest.fixture
async def friend(studio: Shop) -> Person:
    studio.friend.send("/start")
    await studio.friend.hears("Здравствуйте")
    return studio.friend


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    monkeypatch.setattr(progress, "EVERY_SHARE", 0)


def claim(studio: Shop, person: Person, *, since_s: float = 0, **fields: Any) -> Claim:
    """Work that somebody has been at for so long."""
    now = rooms_of(studio).of(Clock).now()
    told = {"job_id": uuid4(), "user_id": person.id, "chat_id": person.id, "language": "ru", "model_id": "qr"}
    told |= {"price_rub": 0, "prompt": "x", "lease": 1, "attempts": 1, "reference": None, "deadline_at": now}
    told |= {"progress_message_id": None, "place": now, "started_at": now - timedelta(seconds=since_s)}
    return Claim(**{**told, **fields})


def told_of(person: Person) -> list[str]:
    return [one.text for one in person.chat if one.text.startswith("⏳")]


async def test_what_is_quick_is_not_told(studio: Shop, friend: Person) -> None:
    async with progress.Shown(rooms_of(studio), claim(studio, friend)) as shown:
        shown.percent = 50
    assert (shown.message_id, told_of(friend)) == (None, [])


async def test_one_message_that_changes(studio: Shop, friend: Person) -> None:
    job = claim(studio, friend, since_s=62)
    async with progress.Shown(rooms_of(studio), job) as shown:
        await friend.hears("⏳ QR-код: 1:0")
        shown.percent = 40
        message = await friend.hears("⏳ QR-код: 40 %, 1:0")
        assert labels(message.buttons) == ["✖️ Отменить"]
        assert message.buttons[0]["callback_data"] == f"cancel:{job.job_id}"
    assert shown.message_id == message.id
    assert len(told_of(friend)) == 1


async def test_another_look_goes_on_with_the_message(studio: Shop, friend: Person) -> None:
    async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)) as shown:
        await friend.hears("⏳")
    later = claim(studio, friend, since_s=20, progress_message_id=shown.message_id)
    async with progress.Shown(rooms_of(studio), later) as again:
        await asyncio.sleep(0)  # its first word would be due, and would tell the time alone
        again.percent = 70
    edits = [call.params["text"] for call in studio.sandbox.calls.of("editMessageText")]
    assert again.message_id == shown.message_id
    assert [text.split(",")[0] for text in edits] == ["⏳ QR-код: 70 %"]
    assert [text.split(",")[0] for text in told_of(friend)] == ["⏳ QR-код: 70 %"]


async def test_the_first_word_comes_after_a_while(
    studio: Shop, friend: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_AFTER_S", 0.1)
    async with progress.Shown(rooms_of(studio), claim(studio, friend)):
        assert told_of(friend) == []
        await friend.hears("⏳ QR-код: 0:00")


async def test_what_is_broken_off_leaves_no_message(studio: Shop, friend: Person) -> None:
    async def work() -> None:
        async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await friend.hears("⏳")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told_of(friend) == []


async def test_a_message_that_is_gone_is_another(studio: Shop, friend: Person) -> None:
    async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10, progress_message_id=9_999)) as shown:
        await friend.hears("⏳")
    assert shown.message_id == friend.chat[-1].id


async def test_who_cannot_be_told_is_left_alone(studio: Shop, friend: Person) -> None:
    await friend.blocks()
    async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)) as shown:
        await until(lambda: any(call.status == 403 for call in studio.sandbox.calls.of("sendMessage")))
        tried = len(studio.sandbox.calls.of("sendMessage"))
        shown.percent = 5
    assert shown.message_id is None
    assert len(studio.sandbox.calls.of("sendMessage")) == tried


async def test_telegram_that_stumbles_is_told_again(studio: Shop, friend: Person) -> None:
    studio.sandbox.faults.fail("sendMessage", status=500, times=2)
    async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)) as shown:
        await friend.hears("⏳")
    assert shown.message_id is not None


async def test_telegram_that_hangs_holds_nobody_up(
    studio: Shop, friend: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LAST_WORD_S", 0.05)
    studio.sandbox.faults.hang("sendMessage", times=2)
    async with asyncio.timeout(5), progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)) as shown:
        shown.percent = 5
    assert shown.message_id is None


async def test_what_is_being_said_is_waited_for(studio: Shop, friend: Person) -> None:
    """Else its message would stay in the chat for good, as nobody knows its id."""
    begun, sent = asyncio.Event(), studio.sandbox.methods["sendmessage"]

    async def slowly(args: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.05)
        return await sent(args)

    studio.sandbox.methods["sendmessage"] = slowly
    async with progress.Shown(rooms_of(studio), claim(studio, friend, since_s=10)) as shown:
        await begun.wait()
    assert told_of(friend)
    assert shown.message_id == friend.chat[-1].id
