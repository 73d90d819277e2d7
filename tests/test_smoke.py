"""The spine in one breath."""

from tests.cast import FRIEND, PAYER
from tests.serving import Served


async def test_start_greets_in_the_language_of_the_person(served: Served) -> None:
    assert "Hello, Payer" in (await served.says(PAYER, "/start"))["text"]
    assert "Здравствуйте, Друг" in (await served.says(FRIEND, "/start"))["text"]
