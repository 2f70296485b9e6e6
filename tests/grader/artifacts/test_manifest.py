"""What a manifest may say, and what the message says where it is wrong."""

import json

import msgspec
import pytest

from drdeploy.errors import InvalidInput, ManifestError
from drdeploy.grader.artifacts import FileDigest, ModelManifest
from drdeploy.grader.artifacts.manifest import decode_manifest, encode_manifest
from drdeploy.grader.artifacts.packing import read_transform_file
from drdeploy.grader.fundus.transform import FundusTransform

GOOD = ModelManifest(
    name="grader",
    architecture="MobileNet",
    model_format="onnx",
    entry="model.onnx",
    weights="random",
    files=(FileDigest("model.onnx", "0" * 64, 12),),
)


def changed(**fields):
    """The good manifest's bytes with top-level fields replaced, or dropped where None."""
    content = {**json.loads(encode_manifest(GOOD)), **fields}
    return json.dumps({k: v for k, v in content.items() if v is not None}).encode()


def test_a_manifest_survives_writing_and_reading():
    assert decode_manifest(encode_manifest(GOOD)) == GOOD


POINT = {
    "name": "high_sensitivity",
    "at_or_above": 2,
    "threshold": 0.1,
    "sensitivity": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40},
    "specificity": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 60},
}
"""An operating point as manifests had it before they stored what the point promises and keeps."""


def test_an_operating_point_without_a_promise_or_a_test_still_opens():
    clinical = {"chosen_on": "others", "operating_points": [POINT]}
    (point,) = decode_manifest(changed(clinical=clinical)).clinical.operating_points
    assert (point.target_sensitivity, point.tested) == (None, None)


@pytest.mark.parametrize("target", [0, 1.01, -0.95])
def test_a_promised_sensitivity_that_is_no_share_is_refused(target):
    clinical = {"chosen_on": "others", "operating_points": [POINT | {"target_sensitivity": target}]}
    with pytest.raises(ManifestError, match=r"operating_points\[0\]\.target_sensitivity"):
        decode_manifest(changed(clinical=clinical))


def test_every_field_is_written_out():
    fields = {field.name for field in msgspec.structs.fields(FundusTransform)}
    assert fields == set(json.loads(encode_manifest(GOOD))["transform"])


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (changed(weights="good"), "weights"),
        (changed(name=3), "name"),
        (changed(name="  "), "name"),
        (changed(architecture=None), "architecture"),
        (changed(surplus=1), "surplus"),
        (changed(classes=["a", "a"]), "classes"),
        (changed(classes=["a", ""]), "classes"),
        (changed(entry="../model.onnx"), "entry"),
        (changed(entry="other.onnx"), "other.onnx"),
        (changed(transform={"crop": "circle"}), "transform.crop"),
        (changed(transform={"width_px": 0}), "transform.width_px"),
        (changed(transform={"std": [1, 0, 1]}), "transform.std"),
        (changed(transform={"value_range": [1, 1]}), "transform.value_range"),
        (changed(files=[]), "files"),
        (changed(files=[{"path": "/etc/x", "sha256": "0" * 64, "size_bytes": 1}]), "files[0]"),
        (changed(files=[{"path": "model.onnx", "sha256": "ab", "size_bytes": 1}]), "sha256"),
        (changed(files=[{"path": "model.onnx", "sha256": "0" * 64}]), "size_bytes"),
    ],
)
def test_the_wrong_field_is_named(content, field):
    with pytest.raises(ManifestError, match=r"manifest\.json") as refusal:
        decode_manifest(content)
    assert field in str(refusal.value)


def test_a_newer_manifest_asks_for_a_newer_drdeploy():
    with pytest.raises(ManifestError, match=r"schema version 7.*Upgrade"):
        decode_manifest(changed(schema_version=7, wholly="new"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"name": "\xff"}'])
def test_what_is_no_json_object_is_refused(content):
    with pytest.raises(ManifestError):
        decode_manifest(content)


def test_a_manifest_that_nests_without_end_is_refused():
    deep = encode_manifest(GOOD).rstrip()[:-1] + b', "surplus": ' + b"[" * 100_000
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        decode_manifest(deep)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("transform.toml", "a = " + "[" * 5000),
        ("transform.json", '{"a": ' + "[" * 100_000),
        ("transform.toml", "\udcff"),
    ],
)
def test_a_transform_file_that_cannot_be_read_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match=name):
        read_transform_file(tmp_path / name)
