"""The addresses of objects in S3, ``s3://BUCKET/KEY``."""

from __future__ import annotations

S3_SCHEME = "s3://"


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an ``s3://`` URI; a folder's key ends in a slash.

    The key is empty if the URI names only a bucket.
    """
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    return bucket, key
