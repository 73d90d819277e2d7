"""Every method refuses what Telegram refuses, in its words, and does what it promises."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from service.sandbox import Person
from tests.sandbox.world import TOKEN, Clock, Telegram

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (3).to_bytes(4, "big") + (2).to_bytes(4, "big")
PRICES = [{"label": "Pack", "amount": 50}]
STARS = {"title": "Pack", "description": "A pack", "payload": "p", "currency": "XTR", "prices": PRICES}


def inline(**button: Any) -> dict[str, Any]:
    return {"inline_keyboard": [[button]]}


@pytest.fixture(autouse=True)
async def acquainted(payer: Person) -> None:
    payer.send("/start")


TO = {"chat_id": 700_000_001}
MARKUP = {"text": "Hi", **TO}

REFUSED = [
    ("sendMessage", {"text": "Hi"}, "chat_id is empty"),
    ("sendMessage", {"text": "Hi", "chat_id": 700_000_002}, "chat not found"),
    ("sendMessage", {"text": "Hi", "chat_id": 5}, "chat not found"),
    ("sendMessage", {"text": "Hi", "chat_id": "@payer"}, "chat not found"),
    ("sendMessage", TO, "message text is empty"),
    ("sendMessage", {**TO, "text": ""}, "message text is empty"),
    ("sendMessage", {**TO, "text": " \n "}, "text must be non-empty"),
    ("sendMessage", {**TO, "text": "<b></b>", "parse_mode": "HTML"}, "text must be non-empty"),
    ("sendMessage", {**TO, "text": "x" * 4097}, "message is too long"),
    ("sendMessage", {**TO, "text": "😀" * 2049}, "message is too long"),
    ("sendMessage", {**TO, "text": "Hi", "parse_mode": "BBCode"}, "unsupported parse_mode"),
    ("sendMessage", {**MARKUP, "reply_markup": "{"}, "can't parse reply keyboard markup JSON object"),
    ("sendMessage", {**MARKUP, "reply_markup": "[]"}, "object expected as reply markup"),
    ("sendMessage", {**MARKUP, "reply_markup": {"inline_keyboard": [{}]}},
     'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays'),
    ("sendMessage", {**MARKUP, "reply_markup": {"keyboard": ["Hi"]}},
     'field "keyboard" must be an Array of Arrays'),
    ("sendMessage", {**MARKUP, "reply_markup": {"keyboard": [[5]]}},
     "can't parse keyboard button: KeyboardButton must be a String or an Object"),
    ("sendMessage", {**MARKUP, "reply_markup": {"keyboard": [[{}]]}},
     "can't parse keyboard button: Can't find field \"text\""),
    ("sendMessage", {**MARKUP, "reply_markup": {"inline_keyboard": [["Hi"]]}},
     "can't parse inline keyboard button: InlineKeyboardButton must be an Object"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(callback_data="a")},
     "can't parse inline keyboard button: Can't find field \"text\""),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A")},
     "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A", callback_data="")},
     "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A", callback_data="a", url="https://example.org")},
     "can't parse inline keyboard button: exactly one action is allowed, found url, callback_data"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A", callback_data="x" * 65)}, "BUTTON_DATA_INVALID"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A", callback_data="ж" * 33)}, "BUTTON_DATA_INVALID"),
    ("sendMessage", {**MARKUP, "reply_markup": inline(text="A", url="javascript:alert(1)")},
     "inline keyboard button URL 'javascript:alert(1)' is invalid: Wrong HTTP URL"),
    ("sendMessage", {**MARKUP, "reply_markup": {"force_reply": True, "input_field_placeholder": "x" * 65}},
     "input_field_placeholder must have 1 to 64 characters"),
    ("editMessageText", {**TO, "text": "Hi"}, "message identifier is not specified"),
    ("editMessageText", {**TO, "message_id": 99, "text": "Hi"}, "message to edit not found"),
    ("editMessageText", {**TO, "message_id": 1, "text": "Hi"}, "message can't be edited"),
    ("editMessageText", {**TO, "message_id": 1}, "message text is empty"),
    ("editMessageReplyMarkup", {**TO, "message_id": 99}, "message to edit not found"),
    ("deleteMessage", {**TO, "message_id": 99}, "message to delete not found"),
    ("deleteMessage", TO, "message identifier is not specified"),
    ("answerCallbackQuery", {"callback_query_id": "5"},
     "query is too old and response timeout expired or query ID is invalid"),
    ("answerCallbackQuery", {}, "query is too old and response timeout expired or query ID is invalid"),
    ("sendChatAction", TO, 'parameter "action" is required'),
    ("sendChatAction", {**TO, "action": "dance"}, "wrong parameter action in request"),
    ("sendPhoto", TO, "there is no photo in the request"),
    ("sendPhoto", {**TO, "photo": "https://example.org/a.png"}, "failed to get HTTP URL content"),
    ("sendDocument", TO, "there is no document in the request"),
    ("sendDocument", {**TO, "document": "unknown"}, "wrong file identifier/HTTP URL specified"),
    ("sendDocument", {**TO, "caption": "x" * 1025}, "message caption is too long"),
    ("setMyCommands", {"commands": "{"}, "can't parse commands JSON object"),
    ("setMyCommands", {"commands": {}}, "expected an Array of BotCommand"),
    ("setMyCommands", {"commands": [5]}, "can't parse BotCommand: expected an Object"),
    ("setMyCommands", {"commands": [{"command": "Start", "description": "x"}]}, "BOT_COMMAND_INVALID"),
    ("setMyCommands", {"commands": [{"command": "start", "description": ""}]}, "BOT_COMMAND_DESCRIPTION_INVALID"),
    ("setMyCommands", {"commands": [{"command": "a", "description": "x"}] * 101}, "BOT_COMMANDS_TOO_MUCH"),
    ("setWebhook", {"url": "ftp://example.org"}, "invalid webhook URL specified"),
    ("setWebhook", {"url": "http://"}, "invalid webhook URL specified"),
    ("setWebhook", {"url": "http://127.0.0.1:1", "secret_token": "x" * 257}, "secret token is too long"),
    ("setWebhook", {"url": "http://127.0.0.1:1", "secret_token": "a b"},
     "secret token contains unallowed characters"),
    ("sendInvoice", {**TO, **STARS, "title": ""}, 'parameter "title" is required'),
    ("sendInvoice", {**TO, **STARS, "title": "x" * 33}, "INVOICE_TITLE_INVALID"),
    ("sendInvoice", {**TO, **STARS, "description": ""}, 'parameter "description" is required'),
    ("sendInvoice", {**TO, **STARS, "description": "x" * 256}, "INVOICE_DESCRIPTION_INVALID"),
    ("sendInvoice", {**TO, **STARS, "payload": ""}, 'parameter "payload" is required'),
    ("sendInvoice", {**TO, **STARS, "payload": "ж" * 65}, "INVOICE_PAYLOAD_INVALID"),
    ("sendInvoice", {**TO, **STARS, "currency": ""}, 'parameter "currency" is required'),
    ("sendInvoice", {**TO, **STARS, "currency": "ZZZ"}, "CURRENCY_INVALID"),
    ("sendInvoice", {**TO, **STARS, "currency": "RUB"}, "PAYMENT_PROVIDER_INVALID"),
    ("sendInvoice", {**TO, **STARS, "prices": None}, 'parameter "prices" is required'),
    ("sendInvoice", {**TO, **STARS, "prices": "{"}, "can't parse prices JSON object"),
    ("sendInvoice", {**TO, **STARS, "prices": {}}, "expected an Array of labeled prices"),
    ("sendInvoice", {**TO, **STARS, "prices": []}, "there must be at least one price"),
    ("sendInvoice", {**TO, **STARS, "prices": [1]}, "can't parse labeled price: LabeledPrice must be an Object"),
    ("sendInvoice", {**TO, **STARS, "prices": [{"label": "", "amount": 1}]},
     "can't parse labeled price: LabeledPrice label must be non-empty"),
    ("sendInvoice", {**TO, **STARS, "prices": [{"label": "a", "amount": 1.5}]},
     'can\'t parse labeled price: Field "amount" must be of type Number'),
    ("sendInvoice", {**TO, **STARS, "prices": PRICES * 2}, "STARS_INVOICE_INVALID"),
    ("sendInvoice", {**TO, **STARS, "prices": [{"label": "a", "amount": 0}]}, "STARS_INVOICE_INVALID"),
    ("sendInvoice", {**TO, **STARS, "provider_token": "x"}, "STARS_INVOICE_INVALID"),
    ("sendInvoice", {**TO, **STARS, "reply_markup": inline(text="A", callback_data="a")}, "REPLY_MARKUP_BUY_EMPTY"),
    ("sendInvoice", {**STARS, "chat_id": 700_000_002}, "chat not found"),
    ("createInvoiceLink", {**STARS, "provider_token": "x"}, "STARS_INVOICE_INVALID"),
    ("createInvoiceLink", {**STARS, "subscription_period": 60}, "SUBSCRIPTION_PERIOD_INVALID"),
    ("createInvoiceLink", {**STARS, "subscription_period": 2_592_000, "prices": [{"label": "a", "amount": 10_001}]},
     "STARS_AMOUNT_INVALID"),
    ("answerPreCheckoutQuery", {"pre_checkout_query_id": "1", "ok": False},
     'parameter "error_message" is required'),
    ("answerPreCheckoutQuery", {"pre_checkout_query_id": "1", "ok": True},
     "query is too old and response timeout expired or query ID is invalid"),
    ("refundStarPayment", {"telegram_payment_charge_id": "x"}, "invalid user_id specified"),
    ("refundStarPayment", {"user_id": 700_000_001}, 'parameter "telegram_payment_charge_id" is required'),
    ("refundStarPayment", {"user_id": 700_000_001, "telegram_payment_charge_id": "x"}, "CHARGE_NOT_FOUND"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "params", "why"), REFUSED, ids=[f"{row[0]}-{index}" for index, row in enumerate(REFUSED)]
)
async def test_refuses_what_telegram_refuses(
    telegram: Telegram, payer: Person, method: str, params: dict[str, Any], why: str
) -> None:
    before = len(payer.chat)
    assert await telegram.refuses(method, **params) == f"400 Bad Request: {why}"
    assert len(payer.chat) == before


async def test_a_wrong_token_is_unauthorized(telegram: Telegram) -> None:
    async with telegram.http.get(f"{telegram.base}/bot1000:other/getMe") as response:
        assert response.status == 401
        assert await response.json() == {"ok": False, "error_code": 401, "description": "Unauthorized"}


async def test_an_unknown_method_is_not_found(telegram: Telegram) -> None:
    assert await telegram.refuses("sendTelegram") == "404 Not Found: method not found"


async def test_a_body_that_is_not_json_is_refused(telegram: Telegram) -> None:
    headers = {"Content-Type": "application/json"}
    url = f"{telegram.base}/bot{TOKEN}/sendMessage"
    for body in (b"{", b"[]", b"\xff"):
        async with telegram.http.post(url, data=body, headers=headers) as response:
            assert (await response.json())["description"] == "Bad Request: can't parse JSON object"


async def test_arguments_come_as_json_form_multipart_or_query(telegram: Telegram, payer: Person) -> None:
    url, params = f"{telegram.base}/bot{TOKEN}/sendMessage", {"chat_id": str(payer.id), "text": "Привет"}
    multipart = aiohttp.FormData(params, default_to_multipart=True)
    for sent in ({"json": params}, {"data": params}, {"data": multipart}, {"params": params}):
        async with telegram.http.post(url, **sent) as response:
            assert (await response.json())["result"]["text"] == "Привет"
    async with telegram.http.get(url.replace("sendMessage", "SENDMESSAGE"), params=params) as response:
        assert response.status == 200
    assert [message.text for message in payer.chat[1:]] == ["Привет"] * 5


async def test_a_message_arrives_whole(telegram: Telegram, payer: Person, clock: Clock) -> None:
    markup = {"inline_keyboard": [[{"text": "Buy", "callback_data": "buy"}]]}
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="x" * 4096, reply_markup=markup)
    assert sent["message_id"] == 2
    assert sent["date"] == int(clock())
    assert sent["from"] == {"id": 1000, "is_bot": True, "first_name": "Ballast", "username": "ballast_sandbox_bot"}
    assert sent["chat"] == {"id": payer.id, "type": "private", "first_name": "Payer", "username": "payer"}
    assert sent["reply_markup"] == markup
    assert payer.chat[-1].wire == sent


async def test_a_reply_keyboard_belongs_to_the_chat(telegram: Telegram, payer: Person) -> None:
    keyboard = {"keyboard": [["One", {"text": "Two"}]], "resize_keyboard": True}
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="Pick", reply_markup=keyboard)
    assert "reply_markup" not in sent
    assert payer.keyboard == ["One", "Two"]
    await telegram.does("sendMessage", chat_id=payer.id, text="Still there")
    assert payer.keyboard == ["One", "Two"]
    await telegram.does("sendMessage", chat_id=payer.id, text="Gone", reply_markup={"remove_keyboard": True})
    assert payer.keyboard == []


async def test_a_one_time_keyboard_folds_when_used(telegram: Telegram, payer: Person) -> None:
    keyboard = {"keyboard": [["Once"]], "one_time_keyboard": True}
    await telegram.does("sendMessage", chat_id=payer.id, text="Pick", reply_markup=keyboard)
    await payer.presses("Once")
    assert payer.keyboard == []
    assert payer.chat[-1].text == "Once"


async def test_an_edit_changes_in_place_and_refuses_no_change(telegram: Telegram, payer: Person) -> None:
    markup = {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="Old", reply_markup=markup)
    where = {"chat_id": payer.id, "message_id": sent["message_id"]}
    not_modified = await telegram.refuses("editMessageText", **where, text="Old", reply_markup=markup)
    assert not_modified.startswith("400 Bad Request: message is not modified: specified new message content")
    edited = await telegram.does("editMessageText", **where, text="New")
    assert edited["text"] == "New"
    assert "reply_markup" not in edited  # as with Telegram: an edit without a keyboard takes it away
    assert edited["edit_date"] >= edited["date"]
    assert [message.text for message in payer.chat] == ["/start", "New"]
    await telegram.does("editMessageReplyMarkup", **where, reply_markup=markup)
    assert (await telegram.refuses("editMessageReplyMarkup", **where, reply_markup=markup)).startswith(
        "400 Bad Request: message is not modified"
    )
    assert payer.chat[-1].buttons == [{"text": "A", "callback_data": "a"}]


async def test_an_edit_takes_an_inline_keyboard_only(telegram: Telegram, payer: Person) -> None:
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="Old")
    where = {"chat_id": payer.id, "message_id": sent["message_id"]}
    why = await telegram.refuses("editMessageText", **where, text="New", reply_markup={"keyboard": [["A"]]})
    assert why == "400 Bad Request: inline keyboard expected"


async def test_a_deleted_message_is_gone(telegram: Telegram, payer: Person, clock: Clock) -> None:
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="Bye")
    where = {"chat_id": payer.id, "message_id": sent["message_id"]}
    assert await telegram.does("deleteMessage", **where) is True
    assert await telegram.refuses("deleteMessage", **where) == "400 Bad Request: message to delete not found"
    clock.now += 49 * 3600
    why = await telegram.refuses("deleteMessage", chat_id=payer.id, message_id=1)
    assert why == "400 Bad Request: message can't be deleted for everyone"


async def test_a_blocked_bot_is_forbidden(telegram: Telegram, payer: Person) -> None:
    await payer.blocks()
    for method, more in (("sendMessage", {"text": "Hi"}), ("sendChatAction", {"action": "typing"})):
        why = await telegram.refuses(method, chat_id=payer.id, **more)
        assert why == "403 Forbidden: bot was blocked by the user"
    await payer.unblocks()
    assert await telegram.does("sendMessage", chat_id=payer.id, text="Hi again")


async def test_files_are_kept_and_served_back(telegram: Telegram, payer: Person) -> None:
    form = aiohttp.FormData({"chat_id": str(payer.id), "caption": "<b>Look</b>", "parse_mode": "HTML"})
    form.add_field("photo", PNG, filename="a.png", content_type="image/png")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendPhoto", data=form) as response:
        size = (await response.json())["result"]["photo"][0]
    assert (size["width"], size["height"], size["file_size"]) == (3, 2, len(PNG))
    assert payer.chat[-1].text == "Look"
    async with telegram.http.get(f"{telegram.base}/files/{size['file_id']}") as response:
        assert (await response.read(), response.content_type) == (PNG, "image/png")
    again = await telegram.does("sendPhoto", chat_id=payer.id, photo=size["file_id"])
    assert again["photo"] == [size]
    why = await telegram.refuses("sendDocument", chat_id=payer.id, document=size["file_id"])
    assert why == "400 Bad Request: can't use file of type Photo as Document"


async def test_a_document_is_known_by_its_id_and_name(telegram: Telegram, payer: Person) -> None:
    form = aiohttp.FormData({"chat_id": str(payer.id)}, quote_fields=False)
    form.add_field("document", b"x", filename="лис.txt", content_type="text/plain")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendDocument", data=form) as response:
        sent = (await response.json())["result"]["document"]
    assert (sent["file_name"], sent["mime_type"]) == ("лис.txt", "text/plain")
    buttons = {"inline_keyboard": [[{"text": "Again", "callback_data": "again"}]]}
    again = {"document": sent["file_id"], "caption": "Look", "reply_markup": buttons}
    assert (await telegram.does("sendDocument", chat_id=payer.id, **again))["document"] == sent
    assert [button["text"] for button in payer.chat[-1].buttons] == ["Again"]


@pytest.mark.parametrize("sides", [(6_000, 4_001), (2_100, 100)])
async def test_a_photo_has_bounds(telegram: Telegram, payer: Person, sides: tuple[int, int]) -> None:
    picture = PNG[:16] + b"".join(side.to_bytes(4, "big") for side in sides)
    form = aiohttp.FormData({"chat_id": str(payer.id)})
    form.add_field("photo", picture, filename="a.png", content_type="image/png")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendPhoto", data=form) as response:
        assert (await response.json())["description"] == "Bad Request: PHOTO_INVALID_DIMENSIONS"


async def test_a_document_never_opens_as_a_page(telegram: Telegram, payer: Person) -> None:
    form = aiohttp.FormData({"chat_id": str(payer.id), "document": "attach://it"})
    form.add_field("it", b"<script>alert(1)</script>", filename="п.html", content_type="text/html")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendDocument", data=form) as response:
        file_id = (await response.json())["result"]["document"]["file_id"]
    async with telegram.http.get(f"{telegram.base}/files/{file_id}") as response:
        assert response.content_type == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["Content-Security-Policy"].startswith("sandbox")


async def test_a_photo_has_to_be_a_picture(telegram: Telegram, payer: Person) -> None:
    form = aiohttp.FormData({"chat_id": str(payer.id)})
    form.add_field("photo", b"<svg/>", filename="a.svg", content_type="image/svg+xml")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendPhoto", data=form) as response:
        assert (await response.json())["description"] == "Bad Request: IMAGE_PROCESS_FAILED"


async def test_commands_are_kept_by_scope_and_language(telegram: Telegram) -> None:
    english = [{"command": "start", "description": "Begin"}]
    russian = [{"command": "start", "description": "Начать"}]
    await telegram.does("setMyCommands", commands=english)
    await telegram.does("setMyCommands", commands=russian, language_code="ru")
    assert await telegram.does("getMyCommands") == english
    assert await telegram.does("getMyCommands", language_code="ru") == russian
    assert await telegram.does("getMyCommands", scope={"type": "chat", "chat_id": 1}) == []
    await telegram.does("deleteMyCommands")
    assert await telegram.does("getMyCommands") == []


async def test_get_me_tells_the_id_of_the_token(telegram: Telegram) -> None:
    me = await telegram.does("getMe")
    assert (me["id"], me["is_bot"]) == (1000, True)
