"""Books to be backed up, keys, and a bucket."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import boto3
import psycopg
import pyrage
import pytest
from moto.server import ThreadedMotoServer

from benchmarks import verify
from tests.cli.conftest import command, process, sql

__all__ = ["command", "process", "sql"]

PEOPLE = 100


class Keys(NamedTuple):
    """A key pair: what BACKUP_RECIPIENTS has, and the file that BACKUP_IDENTITY names."""

    recipient: str
    identity: Path


@pytest.fixture
def books(database_url: str) -> str:
    """The address of a database with people and their money."""
    verify.fill(database_url, PEOPLE)
    return database_url


@pytest.fixture
def made(books: str, command: Callable[..., Any], tmp_path: Path) -> Path:
    """A backup of the books."""
    file = tmp_path / "made.dump"
    assert command("backup", str(file)).code == 0
    return file


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return new_keys(tmp_path / "identity.txt")


def new_keys(path: Path) -> Keys:
    identity = pyrage.x25519.Identity.generate()
    path.write_text(f"# created: today\n{identity}\n")
    return Keys(str(identity.to_public()), path)


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """The settings of a bucket named `backups`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    settings = {
        "S3_ENDPOINT": "http://{}:{}".format(*server.get_host_and_port()),
        "S3_ACCESS_KEY_ID": "test",
        "S3_SECRET_ACCESS_KEY": "test",
    }
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    urlopen(Request(f"{settings['S3_ENDPOINT']}/moto-api/reset", method="POST"))  # servers of a process share all
    client_of(settings).create_bucket(Bucket="backups")
    yield settings
    server.stop()


def client_of(settings: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings["S3_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=settings["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["S3_SECRET_ACCESS_KEY"],
    )


def money(url: str) -> list[Any]:
    """What everybody has, and all that was ever booked."""
    with psycopg.connect(url) as connection:
        balances = connection.execute("SELECT user_id, balance_rub FROM balances ORDER BY user_id").fetchall()
        return (
            balances
            + connection.execute(
                "SELECT id, user_id, amount_rub, type, effect_key, created_at FROM payment_transactions ORDER BY id"
            ).fetchall()
        )
