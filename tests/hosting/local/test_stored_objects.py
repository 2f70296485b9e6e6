"""The contents of S3's objects are in one file, and their space is given back."""

from __future__ import annotations

import gc
import io
import os
import secrets
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from drdeploy.hosting.local.api.content_file import BLOCK_BYTES, ContentFile
from drdeploy.hosting.local.api.stored_objects import ObjectMetadata
from drdeploy.units import KIB, MIB

REGION = "us-east-1"


@pytest.fixture
def contents(tmp_path):
    return ContentFile(tmp_path)


@pytest.fixture
def bucket(aws, request):
    name = request.node.name.replace("_", "-")[:60]
    aws.s3.create_bucket(Bucket=name)
    return name


def count_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_contents_of_all_sizes_are_read_as_they_were_written(contents):
    sizes = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * MIB + 7)
    written = [os.urandom(size) for size in sizes]
    stored = [contents.append_content(data) for data in written]
    assert [one.read() for one in stored] == written
    assert [b"".join(one.read_chunks()) for one in stored] == written
    assert max(len(chunk) for one in stored for chunk in one.read_chunks(KIB)) == KIB


def test_threads_do_not_write_over_each_others_contents(contents):
    written = [bytes([number % 256]) * (number * 37) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(contents.append_content, written))
    assert [one.read() for one in stored] == written


def test_the_file_of_contents_has_no_name_so_that_a_kill_leaves_nothing(contents, tmp_path):
    contents.append_content(b"a photograph")
    assert not list(tmp_path.iterdir())


def test_the_space_of_a_content_that_nobody_refers_to_is_given_back(contents):
    kept, gone = contents.append_content(b"k" * 10_000), contents.append_content(b"g" * MIB)
    also_kept = contents.append_content(b"a" * 10_000)
    before = contents.measure_disk_bytes()
    del gone
    gc.collect()
    if contents.measure_disk_bytes() == before:
        pytest.skip("this file system cannot give back a part of a file")
    assert contents.measure_disk_bytes() <= before - MIB
    assert (kept.read(), also_kept.read()) == (b"k" * 10_000, b"a" * 10_000)


def test_many_objects_need_no_open_files_and_little_memory(aws, service, bucket):
    """50,000 answers of 10 kB would be 500 MB, and one open file each is more than is allowed."""
    simulated = service._aws
    for number in range(100):
        simulated.put_object(REGION, bucket, f"warm-up/{number}", b"x", None)
    files = count_open_files()
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1000):
            simulated.put_object(
                REGION, bucket, f"out/{number:06d}.jpg.out", os.urandom(10_000), None,
                content_type="application/json",
            )  # fmt: skip
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / 1000 < 700
    assert count_open_files() <= files + 5  # other tests' connections
    assert len(simulated.read_object(f"s3://{bucket}/out/000999.jpg.out")) == 10_000


def test_what_is_overwritten_or_deleted_is_not_kept(aws, service, bucket):
    stored = type(service._aws._s3.put_object(bucket, "one", b"1"))

    def count_objects():
        gc.collect()
        found = [one for one in gc.get_objects() if isinstance(one, stored)]
        return sum(one.bucket_name == bucket for one in found)

    for number in range(20):
        aws.s3.put_object(Bucket=bucket, Key="one", Body=b"%d" % number)
    assert count_objects() == 1
    aws.s3.delete_object(Bucket=bucket, Key="one")
    assert count_objects() == 0


def test_who_reads_an_object_reads_it_to_its_end_after_it_was_overwritten(aws, service, bucket):
    old = os.urandom(3 * MIB)
    aws.s3.put_object(Bucket=bucket, Key="photograph", Body=old)
    chunks = service._aws.read_chunks(bucket, "photograph")
    read = next(chunks)
    aws.s3.put_object(Bucket=bucket, Key="photograph", Body=b"new")
    aws.s3.delete_object(Bucket=bucket, Key="photograph")
    assert read + b"".join(chunks) == old


def test_every_version_of_an_object_is_kept_until_it_is_deleted(aws, bucket):
    aws.s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )  # fmt: skip
    put = [
        aws.s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2")
    ]
    aws.s3.delete_object(Bucket=bucket, Key="k")

    def read(version):
        return aws.s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read()

    assert [read(version) for version in put] == [b"1", b"2"]
    aws.s3.delete_object(Bucket=bucket, Key="k", VersionId=put[0])
    assert read(put[1]) == b"2"
    with pytest.raises(aws.s3.exceptions.ClientError):
        read(put[0])


def test_a_copy_of_an_upload_in_parts_outlives_the_original(aws, bucket):
    data = os.urandom(12 * MIB)
    aws.s3.upload_fileobj(io.BytesIO(data), bucket, "original")
    aws.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/original")
    etag = aws.s3.head_object(Bucket=bucket, Key="original")["ETag"]
    assert etag.endswith('-2"')
    aws.s3.delete_object(Bucket=bucket, Key="original")
    assert aws.s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data
    part = aws.s3.get_object(Bucket=bucket, Key="copy", Range=f"bytes={8 * MIB}-")
    assert part["Body"].read() == data[8 * MIB :]


def test_an_aborted_upload_in_parts_leaves_no_object(aws, bucket):
    upload = aws.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    aws.s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"1" * 100)
    aws.s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=bucket)


def test_metadata_rights_and_tags_belong_to_one_object(aws, bucket):
    aws.s3.put_object(Bucket=bucket, Key="a", Body=b"1", Metadata={"Eye": "left"})
    aws.s3.put_object(Bucket=bucket, Key="b", Body=b"1", ContentType="image/jpeg")
    aws.s3.put_object_acl(Bucket=bucket, Key="a", ACL="public-read")
    aws.s3.put_object_tagging(
        Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}
    )
    a, b = (aws.s3.head_object(Bucket=bucket, Key=key) for key in "ab")
    assert (a["Metadata"], a["ContentType"]) == ({"eye": "left"}, "binary/octet-stream")
    assert (b["Metadata"], b["ContentType"]) == ({}, "image/jpeg")
    grants = [aws.s3.get_object_acl(Bucket=bucket, Key=key)["Grants"] for key in "ab"]
    assert [len(one) for one in grants] == [2, 1]
    assert not aws.s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"]


def test_an_attribute_of_one_object_is_not_changed_with_that_of_another(aws, service, bucket):
    """Objects share most attributes; the one that is locked or restored gets others."""
    s3 = service._aws._s3
    one, other, later = (s3.put_object(bucket, key, b"1") for key in ("1", "2", "3"))
    assert one.shared is other.shared
    one.lock_mode = "GOVERNANCE"
    one._storage_class = "GLACIER"
    assert (one.lock_mode, one._storage_class) == ("GOVERNANCE", "GLACIER")
    assert (other.lock_mode, other._storage_class) == (None, "STANDARD")
    later._storage_class = ["a value that cannot be looked up"]
    assert s3.put_object(bucket, "4", b"1").shared is other.shared


def test_metadata_is_looked_up_regardless_of_case():
    one, other = (ObjectMetadata(SimpleNamespace(metadata_pairs=())) for _ in range(2))
    one.update({"Content-Type": "image/jpeg", "X": "1"})
    other.update({"content-type": "image/jpeg", "x": "1"})
    assert dict(one) == {"content-type": "image/jpeg", "x": "1"} == dict(other)
    del one["CONTENT-TYPE"]
    assert "content-type" not in one
    assert other["Content-Type"] == "image/jpeg"
    assert len(one) == 1


def test_nothing_of_the_objects_is_left_in_the_folder_of_services(aws, bucket, home):
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"findable" * 1000)
    assert not [
        path
        for path in Path(home).rglob("*")
        if path.is_file() and b"findable" in path.read_bytes()
    ]


def test_the_versions_of_objects_are_listed_and_deleted(aws, bucket):
    enabled = {"Status": "Enabled"}
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    for body in (b"before", b"after"):
        aws.s3.put_object(Bucket=bucket, Key="k", Body=body)
    versions = aws.s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(one["Key"], one["IsLatest"], one["Size"]) for one in versions] == [
        ("k", True, 5),
        ("k", False, 6),
    ]
    old = aws.s3.get_object(Bucket=bucket, Key="k", VersionId=versions[1]["VersionId"])
    assert old["Body"].read() == b"before"
    named = [{"Key": "k", "VersionId": one["VersionId"]} for one in versions]
    aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": named})
    assert "Versions" not in aws.s3.list_object_versions(Bucket=bucket)


def test_accesses_to_a_bucket_are_logged_in_another_as_asked_for(aws, bucket):
    """moto writes these objects itself, as text."""
    target = f"log-{secrets.token_hex(8)}"
    aws.s3.create_bucket(Bucket=target)
    deliverer = {
        "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"},
    }
    grants = [deliverer | {"Permission": right} for right in ("READ_ACP", "WRITE")]
    owner = aws.s3.get_bucket_acl(Bucket=target)["Owner"]
    aws.s3.put_bucket_acl(Bucket=target, AccessControlPolicy={"Grants": grants, "Owner": owner})
    logging = {"TargetBucket": target, "TargetPrefix": "log/"}
    aws.s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": logging})
    aws.s3.put_object(Bucket=bucket, Key="one", Body=b"1")
    logs = aws.s3.list_objects_v2(Bucket=target)["Contents"]
    assert all(one["Key"].startswith("log/") for one in logs)
    texts = [aws.s3.get_object(Bucket=target, Key=one["Key"])["Body"].read() for one in logs]
    assert any(b"one" in text for text in texts)
