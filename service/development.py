"""What a developer's machine gets where nothing is configured: a database, secrets that stay the same, a bot.

It knows .ballast/ and the development settings; production never comes here.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from service.config import Config
from service.kernel import embedded

FOLDER = Path(".ballast")
SECRETS = ("admin_token", "telegram_webhook_secret")
# The sandbox's bot: a token of the real form, of a bot that Telegram does not have.
SANDBOX_TOKEN = "1:sandbox-token-of-a-bot-that-lives-on-this-machine"  # noqa: S105
# And the one that the sandbox's makers of texts and pictures take.
SANDBOX_KEY = "sk-sandbox"


def uses_sandbox(config: Config) -> bool:
    """Without a token of its own there is no bot to talk to but the sandbox's."""
    return config.development and config.telegram_bot_token in (None, SANDBOX_TOKEN)


@contextmanager
def prepared(config: Config, folder: Path = FOLDER) -> Iterator[Config]:
    """The settings with everything filled in that development does not ask for, for as long as it runs.

    Raises Unavailable when the embedded PostgreSQL is needed and does not start.
    """
    folder.mkdir(exist_ok=True)
    config = _with_secrets(config, folder / "secrets.json")
    if uses_sandbox(config):
        config = _with_sandbox(config)
    if config.database.dsn is not None:
        yield config
        return
    server = embedded.start(folder)
    try:
        yield replace(config, database=replace(config.database, dsn=server.dsn()))
    finally:
        server.stop()


def _with_secrets(config: Config, path: Path) -> Config:
    kept = _kept_secrets(path)
    return replace(
        config,
        admin_token=config.admin_token or kept["admin_token"],
        telegram_webhook_secret=config.telegram_webhook_secret or kept["telegram_webhook_secret"],
    )


def _with_sandbox(config: Config) -> Config:
    """Telegram's stand-in, and one for each payment processor and each maker of things whose keys are not there."""
    here = f"http://127.0.0.1:{config.port}"
    config = replace(config, telegram_bot_token=SANDBOX_TOKEN, telegram_api_base=f"{here}/sandbox", public_url=here)
    if config.yookassa_secret_key is None:
        config = replace(
            config,
            yookassa_shop_id="100500",
            yookassa_secret_key="test_sandbox",  # noqa: S106 - of a stand-in
            yookassa_api_base=f"{here}/sandbox/yookassa/v3",
        )
    if config.stripe_secret_key is None:
        config = replace(
            config,
            stripe_secret_key="sk_test_sandbox",  # noqa: S106 - of a stand-in
            stripe_webhook_secret=("whsec_sandbox",),
            stripe_api_base=f"{here}/sandbox/stripe",
        )
    if config.polar_access_token is None:
        config = replace(
            config,
            polar_access_token="polar_oat_sandbox",  # noqa: S106 - of a stand-in
            polar_webhook_secret="polar_whs_sandbox",  # noqa: S106 - of a stand-in
            polar_product_id="11111111-2222-4333-8444-555555555555",
            polar_api_base=f"{here}/sandbox/polar",
        )
    if config.generation_api_base is None:
        config = replace(
            config,
            generation_api_key=SANDBOX_KEY,
            generation_api_base=f"{here}/sandbox/generation/v1",
        )
    if config.predictions_api_base is None:
        config = replace(
            config,
            predictions_api_key=SANDBOX_KEY,
            predictions_api_base=f"{here}/sandbox/generation/v1",
        )
    return config


def _kept_secrets(path: Path) -> dict[str, str]:
    """Made once, so that a page that is logged in and a webhook that is set survive a restart."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: secrets.token_urlsafe(24) for name in SECRETS}))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
