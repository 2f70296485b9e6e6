"""JSONPath, records and joins of Batch Transform, with the examples of AWS's developer guide."""

import gzip
import json
import struct
from types import SimpleNamespace

import pytest

from drdeploy.hosting.local.api.transform_jobs import TransformJobs
from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.batch_transform import instance_work, object_list, records
from drdeploy.hosting.local.batch_transform.data_processing import DataProcessing
from drdeploy.hosting.local.batch_transform.job import JobSource, TransformJob
from drdeploy.hosting.local.batch_transform.json_path import (
    JsonPath,
    JsonPathMismatch,
    JsonPathRefused,
)
from drdeploy.hosting.local.batch_transform.object_list import (
    NoInput,
    ObjectList,
    list_input_objects,
)
from drdeploy.hosting.local.batch_transform.records import (
    RECORDIO_MAGIC,
    RecordFailure,
    decompress_chunks,
    pack_payloads,
)
from drdeploy.hosting.local.batch_transform.settings import BadParameters, TransformSettings
from drdeploy.hosting.local.endpoints.execution_role import RolePolicies
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.resource_store import AccountRegion
from drdeploy.hosting.sagemaker import Clock

COLUMNS = [0, 1, 2, 3, 4, 5]
RECORD = {"id": 7, "field1": {"child1": 1, "child2": 2}, "features": [1, 2], "SageMakerOutput": 9}


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        # "Supported JSONPath Operators", and the examples in the API reference, DataProcessing.
        ("$", RECORD, RECORD),
        ("$.id", RECORD, 7),
        ("$.features", RECORD, [1, 2]),
        ("$.field1.*", RECORD, [1, 2]),
        ("$['id','SageMakerOutput']", RECORD, {"id": 7, "SageMakerOutput": 9}),
        ("$.field1.['child1','child2']", RECORD, {"child1": 1, "child2": 2}),
        ("$[1]", COLUMNS, 1),
        ("$[-1]", COLUMNS, 5),
        ("$[1,3,5]", COLUMNS, [1, 3, 5]),
        ("$[0,-1]", COLUMNS, [0, 5]),
        ("$[1:]", COLUMNS, [1, 2, 3, 4, 5]),
        ("$[0,5:]", COLUMNS, [0, 5]),
        # Parts that do not overlap repeat nothing, however many there are.
        (f"$[{','.join(f'{one}:{one}' for one in range(40))}]", list(range(40)), list(range(40))),
        # "to include all of the elements between two values, inclusive"
        ("$[1:4]", COLUMNS, [1, 2, 3, 4]),
        ("$[2:5]", COLUMNS, [2, 3, 4, 5]),
        ("$[:5]", COLUMNS, COLUMNS),
        ("$.list[*].a", {"list": [{"a": 1}, {"a": 2}]}, [1, 2]),
        ("$['a.b]c']", {"a.b]c": 1}, 1),
    ],
)
def test_a_path_selects_what_the_developer_guide_says(path, value, selected):
    assert JsonPath.parse(path).select_values(value) == selected


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("id", "does not begin with $"),
        ("$..id", "recursive descent"),
        ("$[?(@.id > 1)]", "filter expression"),
        ("$[(@.length-1)]", "script"),
        ("$.length()", "function"),
        ('$["id"]', "double quotes"),
        ("$[0:4:2]", "step"),
        ("$[]", "empty brackets"),
        ("$.", "a dot without a name"),
        ("$['a', 1]", "brackets"),
        ("$[0", "not closed"),
        ("$[:,:][:,:][:,:][:,:][:,:]", "32 times"),
        ("$" + "[0,0,0,0]" * 3, "64 times"),
    ],
)
def test_an_operator_that_sagemaker_lacks_is_refused_by_its_name(path, named):
    with pytest.raises(JsonPathRefused, match="JSONPath") as refused:
        JsonPath.parse(path)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [("$[6]", COLUMNS), ("$[2:6]", COLUMNS), ("$.no", RECORD), ("$['no']", 1), ("$[0]", RECORD)],
)
def test_an_index_or_a_name_that_the_data_lacks_is_an_error(path, value):
    with pytest.raises(JsonPathMismatch, match="does not fit the data"):
        JsonPath.parse(path).select_values(value)


def process(content_type, *, split="Line", **asked):
    source = {"ContentType": content_type, "SplitType": split}
    return DataProcessing.from_request({"TransformInput": source, "DataProcessing": asked})


def test_the_guides_example_of_a_join_of_json():
    joined = process("application/json", split="None", JoinSource="Input")
    (output,) = joined.make_outputs([b'{"key":1}'], b'{"label":1}')
    assert json.loads(output) == {"key": 1, "SageMakerOutput": {"label": 1}}
    (output,) = joined.make_outputs([b"[1, 2]"], b'{"label":1}')
    assert json.loads(output) == {"SageMakerInput": [1, 2], "SageMakerOutput": {"label": 1}}


def test_the_guides_example_of_a_join_of_csv():
    joined = process("text/csv", JoinSource="Input")
    assert joined.make_outputs([b"1,2,3\n"], b"1") == [b"1,2,3,1"]
    without_id = process("text/csv", InputFilter="$[1:]", JoinSource="Input", OutputFilter="$")
    assert without_id.make_payload([b'id-1,2,"a,b",4,5\n']) == b'2,"a,b",4,5\n'
    assert without_id.make_outputs([b'id-1,2,"a,b",4,5\n'], b"0.9") == [b'id-1,2,"a,b",4,5,0.9']
    id_and_answer = process("text/csv", JoinSource="Input", OutputFilter="$[0,-1]")
    records = [b"a,2,3\n", b"b,2,3\n"]
    assert id_and_answer.make_outputs(records, b"1\n0\n") == [b"a,1", b"b,0"]


def test_the_guides_example_of_an_id_that_the_model_does_not_receive():
    filters = {"InputFilter": "$.features", "OutputFilter": "$['id','SageMakerOutput']"}
    lines = process("application/jsonlines", JoinSource="Input", **filters)
    records = [b'{"id": 1, "features": [0.5]}\n', b'{"id": 2, "features": [1e3]}\n']
    assert lines.make_payload(records) == b"[0.5]\n[1000.0]\n"
    assert lines.make_outputs(records, b'{"label":1}\n{"label":0}') == [
        b'{"id":1,"SageMakerOutput":{"label":1}}',
        b'{"id":2,"SageMakerOutput":{"label":0}}',
    ]


@pytest.mark.parametrize(
    ("record", "answer", "problem"),
    [
        (b"1\n2\n", b"1", "answered 2 records with 1 lines"),
        (b"{", b"1", "a record is not valid application/jsonlines"),
        (b"1", b"<html>", "the answer of the model is not valid application/jsonlines"),
    ],
)
def test_what_cannot_be_joined_fails_and_says_why(record, answer, problem):
    joined = process("application/jsonlines", JoinSource="Input")
    with pytest.raises(RecordFailure, match=problem):
        joined.make_outputs([record], answer)


def recordio(payload, flag=0):
    head = struct.pack("<II", RECORDIO_MAGIC, flag << 29 | len(payload))
    return head + payload + b"\0" * (-len(payload) % 4)


def tfrecord(payload):
    return struct.pack("<Q", len(payload)) + b"crc." + payload + b"crc."


def small(data):
    return [data[at : at + 3] for at in range(0, len(data), 3)]


@pytest.mark.parametrize(
    ("split", "frame", "ends"),
    [
        ("Line", lambda data: data + b"\r\n", b"\r\n"),
        ("RecordIO", recordio, b""),
        ("TFRecord", tfrecord, b""),
    ],
)
def test_records_are_split_and_packed(split, frame, ends):
    records = [b"a", b"bcdefg", b"hi"]
    data = b"".join(frame(record) for record in records)
    single = pack_payloads(small(data), split, has_many=False, max_bytes=50)
    assert list(single) == [[record + ends] for record in records]
    (many,) = pack_payloads(small(data), split, has_many=True, max_bytes=None)
    assert b"".join(many) == data
    size = len(frame(records[0]) + frame(records[1]))
    first, second = pack_payloads(small(data), split, has_many=True, max_bytes=size)
    assert b"".join(first) + b"".join(second) == data
    assert len(first) == 2
    with pytest.raises(RecordFailure, match="MaxPayloadInMB"):
        list(pack_payloads([data], split, has_many=True, max_bytes=5))
    if split != "Line":
        with pytest.raises(RecordFailure, match="truncated"):
            list(pack_payloads([data[:-1]], split, has_many=True, max_bytes=None))


def test_a_record_that_contains_the_magic_number_is_put_together():
    magic = struct.pack("<I", RECORDIO_MAGIC)
    data = recordio(b"abcd", 1) + recordio(b"efgh", 2) + recordio(b"ij", 3)
    ((record,),) = pack_payloads([data], "RecordIO", has_many=False, max_bytes=None)
    assert record == b"abcd" + magic + b"efgh" + magic + b"ij"


def test_the_parts_of_a_record_are_in_order_and_no_larger_than_a_payload():
    middle = recordio(b"efgh", 2)
    endless = recordio(b"abcd", 1) + middle * 10
    for has_many in (False, True):
        with pytest.raises(RecordFailure, match="MaxPayloadInMB"):
            list(pack_payloads([endless], "RecordIO", has_many=has_many, max_bytes=40))
    for data in (middle, recordio(b"", 1) * 2):
        with pytest.raises(RecordFailure, match="not in order"):
            list(pack_payloads([data], "RecordIO", has_many=False, max_bytes=40))


def test_a_text_that_utf8_cannot_hold_fails_the_record():
    joined = process("application/json", split="None", JoinSource="Input")
    with pytest.raises(RecordFailure, match="cannot be written as UTF-8"):
        joined.make_outputs([rb'{"name": "\ud800"}'], b"1")
    selected = process("text/csv", InputFilter="$[0]")
    assert selected.make_payload([b"a,b\n"]) == b"a\n"


def test_what_one_object_holds_is_bounded(monkeypatch):
    monkeypatch.setattr(instance_work, "HELD_BYTES_MAX", 10)
    monkeypatch.setattr(records, "HELD_BYTES_MAX", 10)
    output = instance_work._ObjectOutput(None)
    output.add_part(b"12345")
    assert output.parts == [b"12345"]
    output.add_part(b"678901")
    output.add_part(b"1")
    assert (output.parts, "more than 10 bytes" in str(output.failure)) == ([], True)
    with pytest.raises(RecordFailure, match="10 bytes, which is the most"):
        list(pack_payloads([b"12345", b"678901"], "None", has_many=True, max_bytes=None))


def test_the_container_cannot_ask_for_requests_without_limit():
    asked = {"MaxConcurrentTransforms": 1_000_000, "MaxPayloadInMB": 0}
    with pytest.raises(BadParameters, match=r"\(1000000\) must not exceed 100"):
        TransformSettings.from_request({}, asked)


class Manifest:
    def __init__(self, *entries):
        self.body = json.dumps(entries).encode()

    def read_chunks(self, bucket, key):
        yield self.body


def test_a_manifest_keeps_its_prefix_once_and_is_refused_if_no_object_can_have_it():
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://b/m"}
    prefix = "s3://b/" + "p" * 1000
    found = list_input_objects(source, Manifest({"prefix": prefix}, *["/a"] * 1000), "role")
    assert found[7].key == "p" * 1000 + "/a"
    assert found[7].relative_key == "a"
    assert sum(len(one) for one in found._keys) == 2000
    for entries, problem in (
        (({"prefix": f"{prefix}{prefix}"}, "a"), "more than 1024 bytes"),
        (({"prefix": "s3://b/\ud800"}, "a"), "is not UTF-8"),
        (({"prefix": "s3://b/"}, "\ud800"), "entry 2"),
    ):
        with pytest.raises(NoInput, match=problem):
            list_input_objects(source, Manifest(*entries), "role")


def test_an_unsplit_object_is_one_payload_however_it_is_read():
    assert list(pack_payloads([b"ab", b"c"], "None", has_many=True, max_bytes=3)) == [[b"abc"]]
    assert list(pack_payloads([], "None", has_many=True, max_bytes=3)) == [[b""]]


def test_gzip_is_decompressed_and_a_damaged_file_is_an_error():
    packed = gzip.compress(b"one") + gzip.compress(b"two")
    assert b"".join(decompress_chunks(small(packed))) == b"onetwo"
    with pytest.raises(RecordFailure, match="truncated"):
        list(decompress_chunks([packed[:-4]]))
    with pytest.raises(RecordFailure, match="not a gzip file"):
        list(decompress_chunks([b"plain"]))


class Keys:
    def __init__(self, *keys):
        self.keys = keys

    def list_keys(self, bucket, prefix):
        return [key for key in self.keys if key.startswith(prefix)]


@pytest.mark.parametrize(
    ("uri", "outputs"),
    [
        ("s3://b/in/", ["a.jpg", "deep/c.jpg"]),
        ("s3://b/in", ["in/a.jpg", "in/deep/c.jpg", "in2/d.jpg"]),  # a prefix, and no folder
        ("s3://b/in/deep", ["c.jpg"]),
        ("s3://b/in/a.jpg", ["a.jpg"]),
        ("s3://b", ["in/a.jpg", "in/deep/c.jpg", "in2/d.jpg"]),
    ],
)
def test_the_key_of_an_output_begins_below_the_prefix(uri, outputs):
    storage = Keys("in/", "in/a.jpg", "in/deep/c.jpg", "in2/d.jpg")
    found = list_input_objects({"S3DataType": "S3Prefix", "S3Uri": uri}, storage, "role")
    assert isinstance(found, ObjectList)
    assert [found[number].relative_key for number in range(len(found))] == outputs


TRUST = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
}


def check_role(*granted, uri="s3://eyes/in/", output="s3://eyes/out"):
    """Check the role of a job that may do what is granted with the model's archive and more."""
    statements = [{"Effect": "Allow", **one} for one in granted]
    policies = RolePolicies(
        (json.dumps({"Statement": statements}),), json.dumps({"Statement": [TRUST]})
    )
    request = {
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        },
        "TransformOutput": {"S3OutputPath": output},
    }
    model = {"ExecutionRoleArn": "role", "PrimaryContainer": {"Image": "drdeploy:lean"}}
    fleet = SimpleNamespace(clock=Clock(), policies_of_role=lambda _: policies)
    TransformJob(
        "j", "arn", request, JobSource("us-east-1", model, None), fleet
    )._check_role_permissions()


def test_a_role_may_be_held_to_the_folders_of_its_job():
    read = {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::eyes/in/*"}
    write = {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::eyes/out/*"}
    listed = {
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::eyes",
        "Condition": {"StringLike": {"s3:prefix": "in/*"}},
    }
    check_role(read, write, listed)
    check_role(read, write, listed, output="s3://eyes/out/")
    with pytest.raises(StartFailed, match="s3:ListBucket permission for the bucket: 'eyes'"):
        check_role(read, write, listed, uri="s3://eyes/other/")
    with pytest.raises(StartFailed, match="s3:PutObject permission for the output"):
        check_role(read, write, listed, output="s3://eyes/outside")


def test_a_job_that_has_ended_holds_no_keys(monkeypatch):
    source = JobSource("us-east-1", {}, None)
    job = TransformJob("j", "arn", {}, source, SimpleNamespace(clock=Clock()))
    job._objects = ObjectList("b", ["k"], 0)
    monkeypatch.setattr(job, "_run_stages", lambda: "")
    job._run_job_until_it_ended()
    assert (job.status, job._objects) == ("Completed", None)


def test_a_payload_of_tiny_records_has_a_bound_of_its_own():
    """Each record takes fifty bytes beside its content: a gigabyte of them would take twenty."""
    data = [b"a\n" * 1000]
    payloads = list(pack_payloads(data, "Line", has_many=True, max_bytes=None, max_records=300))
    assert [len(one) for one in payloads] == [300, 300, 300, 100]


def test_a_manifest_has_a_bound_of_its_values(monkeypatch):
    monkeypatch.setattr(object_list, "MANIFEST_VALUES_MAX", 3)

    class Storage:
        def read_chunks(self, bucket, key):
            return iter([b'[{"prefix": "s3://b/"},"a","b",{}]'])

    with pytest.raises(NoInput, match="more than 3 values"):
        list_input_objects({"S3DataType": "ManifestFile", "S3Uri": "s3://b/m"}, Storage(), "role")


def test_a_job_that_ends_while_the_service_stops_does_not_keep_it_from_stopping():
    """Its refusal ended the stop of the service, whose instances and files then stayed."""
    stopped = []

    def refuse(**_):
        raise make_validation_error("the transform job is in status Completed")

    jobs = TransformJobs(AccountRegion("us-east-1"), None, None, None)
    for name, stop in (("a", refuse), ("b", lambda **_: stopped.append("b"))):
        jobs.store.add_resource(
            SimpleNamespace(name=name, arn=name, status="InProgress", stop=stop)
        )
    jobs.stop_all_jobs()
    assert stopped == ["b"]
