"""Backups in a bucket of S3, or of who speaks as it does.

It knows one bucket, the beginning that its names have, and the client's errors; it knows nothing of what is stored.
https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from service.backup.seal import Reader
from service.backup.target import Access
from service.errors import NotFound, Upstream

# 10,000 parts are allowed, which makes 320 GB; one of them is in memory at a time.
PART_BYTES = 32 << 20
TRANSFER = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
# Newer checksums are not known to everybody who speaks S3; what we store has a seal of its own.
CLIENT = ClientConfig(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 5},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Bucket:
    """A bucket that is there. `prefix` is empty or ends with a slash."""

    def __init__(self, bucket: str, prefix: str, access: Access) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=access.endpoint,
            region_name=access.region,
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
            config=CLIENT,
        )

    def where(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def store(self, name: str, reader: Reader) -> None:
        """Part by part as it is read; whoever stops in the middle leaves nothing."""
        with _told("stored"):
            self._client.upload_fileobj(reader, self.bucket, self.prefix + name, Config=TRANSFER)

    def listed(self) -> dict[str, datetime]:
        """Names directly under the prefix, and when each was written."""
        pages = self._client.get_paginator("list_objects_v2")
        with _told("listed"):
            return {
                one["Key"].removeprefix(self.prefix): one["LastModified"]
                for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix)
                for one in page.get("Contents", ())
            }

    def delete(self, name: str) -> None:
        with _told("deleted"):
            self._client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """On this machine for a while. Raises NotFound."""
        with tempfile.TemporaryDirectory(prefix="ballast-fetched-") as folder:
            path = Path(folder, name)
            with _told("fetched"):
                self._client.download_file(self.bucket, self.prefix + name, str(path), Config=TRANSFER)
            yield path


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The client's errors in one line. Raises NotFound, Upstream."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        if str(told.get("Code")) in ("404", "NoSuchKey", "NoSuchBucket"):
            raise NotFound(f"the bucket has none: {told.get('Code')}") from None
        raise Upstream(f"S3: not {what}: {told.get('Code')}", permanent=False) from None
    except BotoCoreError as error:
        raise Upstream(f"S3: not {what}: {type(error).__name__}", permanent=False) from None
