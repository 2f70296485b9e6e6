"""The registry in place of ECR's: ECR's API lists what was pushed, and deletes it."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from local_aws import client

from drdeploy.hosting.local.registry.blobs import ABANDONED_AFTER_S, BlobStore
from drdeploy.hosting.local.registry.manifests import ImageManifest
from drdeploy.hosting.local.registry.routes import MANIFEST_BYTES_MAX, ImageRegistry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def send(method, url, body=None, kind="application/octet-stream"):
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def code_of(answer):
    return json.loads(answer[2])["errors"][0]["code"]


class Pusher:
    """A client of the registry, step by step."""

    def __init__(self, url, name):
        self.url, self.root = url, f"{url}/v2/{name}"

    def blob(self, content):
        _, headers, _ = send("POST", f"{self.root}/blobs/uploads/")
        location = self.url + headers["Location"]
        send("PATCH", location, content[:3])
        send("PATCH", location, content[3:])
        return send("PUT", f"{location}?digest={digest_of(content)}")

    def image(self, tag, profile="lean", program="/usr/local/bin/drdeploy-serve.py"):
        settings = {"Env": [f"DRDEPLOY_PROFILE={profile}"], "Entrypoint": [program]}
        config = json.dumps({"config": settings}).encode()
        layer = f"layer of {profile}".encode()
        for content in (config, layer):
            assert self.blob(content)[0] == 201
        parts = [{"digest": digest_of(one), "size": len(one)} for one in (config, layer)]
        manifest = json.dumps({"schemaVersion": 2, "config": parts[0], "layers": parts[1:]})
        answer = send("PUT", f"{self.root}/manifests/{tag}", manifest.encode(), MANIFEST)
        return answer, digest_of(manifest.encode())


@pytest.fixture
def ecr(aws):
    return client("ecr", aws.url)


@pytest.fixture
def repository(aws, ecr):
    name = f"{aws.name()}/drdeploy"
    ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return name


def test_what_is_pushed_is_listed_by_ecr_and_comes_back_byte_by_byte(aws, ecr, repository):
    pusher = Pusher(aws.url, repository)
    answer, digest = pusher.image("lean-1")
    assert (answer[0], answer[1]["Docker-Content-Digest"]) == (201, digest)
    (listed,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert (listed["imageDigest"], listed["imageTags"]) == (digest, ["lean-1"])
    for reference in ("lean-1", digest):
        status, headers, manifest = send("GET", f"{pusher.root}/manifests/{reference}")
        assert (status, headers["Docker-Content-Digest"]) == (200, digest)
        assert digest_of(manifest) == digest
    layer = json.loads(manifest)["layers"][0]["digest"]
    assert send("GET", f"{pusher.root}/blobs/{layer}")[2] == b"layer of lean"
    assert send("HEAD", f"{pusher.root}/blobs/{layer}")[1]["Content-Length"] == "13"
    tags = json.loads(send("GET", f"{pusher.root}/tags/list")[2])["tags"]
    assert tags == ["lean-1"]


def test_an_image_deleted_through_ecr_cannot_be_pulled(aws, ecr, repository):
    pusher = Pusher(aws.url, repository)
    _, digest = pusher.image("lean-1")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    assert code_of(send("GET", f"{pusher.root}/manifests/{digest}")) == "MANIFEST_UNKNOWN"


def test_an_immutable_tag_cannot_be_moved_but_the_same_image_can_be_pushed_again(
    aws, ecr, repository
):
    pusher = Pusher(aws.url, repository)
    _, digest = pusher.image("one")
    assert pusher.image("one")[0][0] == 201
    answer, _ = pusher.image("one", profile="classic")
    assert (answer[0], code_of(answer)) == (400, "TAG_INVALID")
    (listed,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert listed["imageDigest"] == digest


@pytest.mark.parametrize(
    ("path", "method", "body", "code"),
    [
        ("blobs/uploads/0123", "PATCH", b"x", "BLOB_UPLOAD_UNKNOWN"),
        (f"blobs/uploads/?digest=sha256:{'0' * 64}", "POST", b"x", "DIGEST_INVALID"),
        (f"blobs/sha256:{'0' * 64}", "GET", None, "BLOB_UNKNOWN"),
        ("blobs/..%2f..%2fetc", "GET", None, "UNSUPPORTED"),
        ("manifests/none", "GET", None, "MANIFEST_UNKNOWN"),
        ("manifests/x", "PUT", b"no json", "MANIFEST_INVALID"),
        ("manifests/x", "PUT", b'{"config": {"digest": "sha256:1"}}', "MANIFEST_BLOB_UNKNOWN"),
        (f"manifests/sha256:{'0' * 64}", "PUT", b"{}", "DIGEST_INVALID"),
        ("manifests/x", "DELETE", None, "UNSUPPORTED"),
    ],
)
def test_a_bad_request_is_refused_with_the_specifications_code(
    aws, repository, path, method, body, code
):
    assert code_of(send(method, f"{aws.url}/v2/{repository}/{path}", body)) == code


def test_a_manifest_that_would_fill_the_memory_is_refused(aws, repository):
    # Refused by its announced length, before a byte of it is sent.
    client = http.client.HTTPConnection(urlsplit(aws.url).netloc, timeout=30)
    client.putrequest("PUT", f"/v2/{repository}/manifests/large")
    client.putheader("Content-Length", str(MANIFEST_BYTES_MAX + 1))
    client.endheaders()
    assert client.getresponse().status == 413
    client.close()
    small = b'{"layers": []}'.ljust(MANIFEST_BYTES_MAX)
    assert send("PUT", f"{aws.url}/v2/{repository}/manifests/small", small)[0] == 201


@pytest.mark.parametrize(
    "content",
    [b'{"config": {}}'.ljust(MANIFEST_BYTES_MAX + 1), b"no JSON", b"[]", b'{"config": [1]}'],
    ids=["large", "no JSON", "a list", "a list inside"],
)
def test_a_blob_that_is_no_configuration_names_no_profile(tmp_path, monkeypatch, content):
    registry = ImageRegistry(tmp_path)
    upload = registry.blobs.begin_upload()
    registry.blobs.append_to_upload(upload, io.BytesIO(content))
    registry.blobs.finish_upload(upload, digest_of(content))
    manifest = json.dumps({"config": {"digest": digest_of(content)}}).encode()
    found = ImageManifest(manifest, MANIFEST)
    monkeypatch.setattr(registry.manifests, "find_manifest", lambda *_: found)
    monkeypatch.setattr(Path, "read_bytes", None)  # it would read all of a blob of any size
    assert registry.find_profile_of_image("drdeploy", "strange") is None


def test_an_upload_that_was_given_up_is_deleted_when_the_next_one_begins(tmp_path):
    blobs = BlobStore(tmp_path)
    given_up, in_progress = blobs.begin_upload(), blobs.begin_upload()
    old = time.time() - ABANDONED_AFTER_S - 60
    os.utime(tmp_path / f"{given_up}.part", (old, old))
    blobs.append_to_upload(in_progress, io.BytesIO(b"layer"))
    latest = blobs.begin_upload()
    assert {path.stem for path in tmp_path.iterdir()} == {in_progress, latest}
    with pytest.raises(KeyError):
        blobs.measure_upload_size(given_up)
    assert blobs.measure_upload_size(in_progress) == len(b"layer")


def test_a_push_to_a_repository_that_ecr_does_not_have_is_refused(aws):
    answer = send("POST", f"{aws.url}/v2/no/such/blobs/uploads/")
    assert (answer[0], code_of(answer)) == (404, "NAME_UNKNOWN")


def test_ecr_says_where_to_push(aws, ecr):
    (login,) = ecr.get_authorization_token()["authorizationData"]
    assert login["proxyEndpoint"] == aws.url


def test_a_process_runs_the_profile_of_the_image_that_its_digest_names(aws, repository):
    pusher = Pusher(aws.url, repository)
    _, digest = pusher.image("classic-1", profile="classic")
    uri = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{repository}@{digest}"
    name = aws.endpoint(image=uri)
    assert aws.invoke(name)["environment"]["DRDEPLOY_PROFILE"] == "classic"
    aws.delete(name)


def test_a_process_never_stands_in_for_another_server_in_an_image_built_on_ours(aws, repository):
    _, digest = Pusher(aws.url, repository).image("other-1", program="/opt/program/serve")
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    with pytest.raises(ClientError, match="cannot run without a container engine"):
        aws.model(aws.name(), image=f"{host}/{repository}@{digest}")


def test_a_model_of_an_image_that_was_not_pushed_is_refused_with_its_reason(aws, repository):
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    with pytest.raises(ClientError, match=f"{repository}@sha256:0{{64}} not found"):
        aws.model(aws.name(), image=f"{host}/{repository}@sha256:{'0' * 64}")
