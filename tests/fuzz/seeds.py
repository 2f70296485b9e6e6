"""Valid inputs of every target, and some of the attacks that were found by hand."""

from __future__ import annotations

import base64
import io
import json
import struct
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from dicom_files import as_bytes, encapsulate, make_dataset
from image_files import encoded, gradient
from PIL import Image

from drdeploy.files import path_of_shipped_file


def seeds(name: str) -> list[bytes]:
    """Return the seeds of a target, each a few kilobytes at most."""
    return list(_SEEDS[name]())


def _jpegs():
    image = gradient(48, 40)
    yield encoded(image, "JPEG")
    yield encoded(image, "JPEG", progressive=True)
    yield encoded(image.convert("L"), "JPEG", restart_marker_rows=1)
    yield encoded(image.convert("CMYK"), "JPEG", quality=10)


def _pngs():
    image = gradient(24, 20)
    yield encoded(image, "PNG")
    yield encoded(image.quantize(16), "PNG", transparency=3)
    yield encoded(image.convert("RGBA"), "PNG")
    yield encoded(image.convert("1"), "PNG")
    yield encoded(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), "PNG")


def _tiffs():
    image = gradient(24, 20)
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield encoded(image, "TIFF", compression=compression)
    yield encoded(image.quantize(16), "TIFF")
    yield encoded(image.convert("RGBA"), "TIFF", compression="tiff_lzw", tiffinfo={317: 2, 274: 6})
    yield encoded(image.convert("L"), "TIFF", compression="tiff_lzw", strip_size=48)
    yield encoded(Image.fromarray(np.arange(400, dtype=">u2").reshape(20, 20)), "TIFF")


def _dicoms():
    from pydicom.uid import JPEGBaseline8Bit

    def write(dataset):
        # Otherwise of chance, and the same seed would start from other inputs each time.
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4", "1.2.5"
        return as_bytes(dataset)

    colours = np.asarray(gradient(24, 20))
    yield write(make_dataset(colours))
    grey = colours[:, :, 0]
    yield write(make_dataset(grey, photometric="MONOCHROME1", RescaleSlope=2, RescaleIntercept=1))
    yield write(make_dataset(grey.astype(np.uint16) * 16, bits=12, WindowCenter=9, WindowWidth=9))
    jpeg = encoded(gradient(24, 20), "JPEG")
    yield write(encapsulate(make_dataset(colours), [jpeg, jpeg], JPEGBaseline8Bit))


def _exif():
    exif = Image.Exif()
    exif[274] = 6
    yield exif.tobytes().removeprefix(b"Exif\0\0")
    yield b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 274, 3, 1, 8, 0)


def _tar(members: dict[str, bytes], tar_format: int, headers: dict[str, str] | None = None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tar_format) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = headers or {}
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue().rstrip(b"\0") + bytes(1024)


def _archives():
    from drdeploy.grader.artifacts import ModelDescription, pack_archive

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "grader.onnx")
        model.write_bytes(next(_onnx()))
        description = ModelDescription(name="grader", architecture="Tiny", weights="random")
        pack_archive(model, Path(folder, "model.tar.gz"), description)
        with tarfile.open(Path(folder, "model.tar.gz")) as tar:
            members = {info.name: tar.extractfile(info).read() for info in tar}
    for tar_format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        yield _tar(members, tar_format)
    extras = {"._mine": b"x", "mine/README": b"x", "mine/code/inference.py": b"x"}
    wrapped = {f"mine/{name}": content for name, content in members.items()}
    yield _tar(extras | wrapped, tarfile.USTAR_FORMAT)
    yield _tar({"._mine": b"x", **wrapped}, tarfile.USTAR_FORMAT)
    yield _tar({"saved_model.pb": b"graph", "variables/" + "v" * 120: b"x"}, tarfile.GNU_FORMAT)
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999"}
    yield _tar({"saved_model.pb": b"1\n0\n5\n".ljust(512, b"\0")}, tarfile.PAX_FORMAT, sparse)
    old = {"GNU.sparse.map": "0,5,4000000,5", "GNU.sparse.size": "4000005"}
    yield _tar({"saved_model.pb": b"1234567890"}, tarfile.PAX_FORMAT, old)
    yield _tar({"saved_model.pb": b"12"}, tarfile.PAX_FORMAT, {"size": "99999999999"})
    old_sparse = tarfile.TarInfo("saved_model.pb")
    old_sparse.type = tarfile.GNUTYPE_SPARSE
    yield old_sparse.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def _saved_images():
    layer = _tar({"usr/lib/python3/site/x-1.dist-info/RECORD": b"x.py,,\n"}, tarfile.PAX_FORMAT)
    configuration = {"history": [{"created_by": "COPY"}]}
    listing = [{"Config": "config.json", "Layers": ["layer.tar"]}]
    yield _tar(
        {
            "layer.tar": layer,
            "config.json": json.dumps(configuration).encode(),
            "manifest.json": json.dumps(listing).encode(),
        },
        tarfile.PAX_FORMAT,
    )


def _manifests():
    for tar in list(_archives())[:1]:
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            yield opened.extractfile("manifest.json").read()
    yield b'{"schema_version": 1, "tr\\nsform": 1}'  # a field whose name has two lines


def _onnx():
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    for shape in (["n", 3, 224, 224], [1, 3, 8, 8]):
        graph = helper.make_graph(
            [node],
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 3])],
        )
        opset = [helper.make_opsetid("", 13)]
        yield onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _onnx_with_weights():
    import onnx

    yield from _onnx()
    for location in ("grader.onnx.data", "../outside", "/etc/passwd", "absent"):
        model = onnx.load_from_string(next(_onnx()))
        tensor = model.graph.initializer.add(name="w", dims=[2], data_type=1, data_location=1)
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="length", value="8")
        yield model.SerializeToString()


def _transforms():
    yield b'{"width_px": 224, "height_px": 224, "crop": "field_of_view"}'
    yield b"width_px = 224\nheight_px = 224\nmean = [0.1, 0.2, 0.3]\nstd = [1.0, 1.0, 1.0]\n"


def _multiparts():
    part = '--b\r\nContent-Disposition: form-data; name="i"; filename="i.jpg"\r\n\r\nbytes\r\n'
    yield f"; boundary=b\n{part}{part}--b--\r\n".encode()
    yield b'; boundary="b"\n--b\r\nContent-Disposition: form-data; name="t"\r\n\r\n1\r\n--b--'
    unfilled = '--b\r\nContent-Disposition: form-data; name="i"; filename=""\r\n\r\n\r\n'
    text = "--b\r\nContent-Type: text/plain\r\n\r\ndata:image/jpeg;base64,/9j/4A\r\n"
    yield f"\n{unfilled}{text}--b--\r\n".encode()


def _json_bodies():
    image = base64.b64encode(b"bytes").decode()
    yield json.dumps([image, image]).encode()
    yield json.dumps({"instances": [{"b64": image}]}).encode()
    photograph = base64.b64encode(b"\xff\xd8\xff\xe0").decode()
    yield json.dumps({"inputs": [{"name": "x", "data": [image]}], "id": 1}).encode("utf-16")
    yield json.dumps({"photo": f"data:image/jpeg;base64,{photograph}"}).encode("utf-8-sig")
    yield json.dumps(json.dumps([photograph.rstrip("=")])).encode()
    yield f'["{base64.encodebytes(bytes(90)).decode()}", "b\'{photograph}\'"]'.encode()
    yield photograph.encode()


def _answers():
    yield b'{"grade": 2, "label": "moderate", "timing": {"decode_s": 0.1}, "gradable": true}'
    yield b'{"requestLatency": 1e999, "container": {"id": "a", "invocation": 1}, "model": []}'


def _accepts():
    yield b"application/json;q=0.5, text/csv; header=absent, */*;q=nan"
    yield b"text/*, application/*;q=1e999"


def _http():
    yield b"\0GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    post = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbytes"
    yield b"\x03" + post + b"GET / HTTP/1.1\r\n\r\n"
    yield (
        b"\x02POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Expect: 100-continue\r\n\r\n2;x=y\r\nab\r\n0\r\nTrailer: a\r\n\r\n"
    )
    yield b"\1HEAD http://a/ping HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def _studies():
    for path in sorted(path_of_shipped_file("studies").glob("*.toml")):
        yield path.read_bytes()


def _traces():
    yield b"arrived_at\n2026-01-01T00:00:00Z\n2026-01-01T00:00:01Z\n"
    yield b"minute,count\n2026-01-01T00:00:00Z,3\n2026-01-01T00:01:00Z,2\n"
    yield b'"minute,count\n2026-01-01T00:00:00Z,3\n"'  # a column whose name has two lines


def _measurements():
    from drdeploy.study.measurements.measurement import Measurement, encode_header, encode_row

    moment = datetime(2025, 1, 1, tzinfo=UTC)
    row = Measurement(
        **dict.fromkeys(("study", "trial", "model", "architecture", "image", "scenario"), "a"),
        **dict.fromkeys(("photograph", "run_id"), "b"),
        platform="local",
        isolation="process",
        weights="random",
        precision="fp32",
        profile="lean",
        endpoint_kind="serverless",
        memory_mb=1024,
        sequence=1,
        is_warmup=False,
        outcome="ok",
        status=200,
        payload_bytes=3,
        scheduled_at=moment,
        started_at=moment,
        total_latency_s=0.1,
    )
    yield encode_header() + encode_row(row)
    yield encode_header() + encode_row(row)[:40]
    yield encode_header().replace(b"\n", b"," + encode_header())  # every column twice


def _labels():
    yield b"file,icdr_grade,split,group\na.jpg,2,train,p1\nb.png,0.0,test,p2\n"
    yield b'file,icdr_grade\n"a\nb.jpg",9\n/dev/zero,1\n'
    yield b'\xef\xbb\xbffile , icdr_grade\n"a, b.jpg",4\n'


def _prices():
    path = path_of_shipped_file("src/drdeploy/hosting/sagemaker/prices.toml")
    text = path.read_bytes() if path.is_file() else b""
    yield text[:3000].rpartition(b"[[")[0]
    origin = b'region = "eu-west-1"\ndate = "2026-01-01"\nsource = "list"\n'
    yield b"[[serverless_second]]\n" + origin + b"usd_by_memory_mb = { 1024 = 0.00002 }\n"
    yield b"[[data_processed_gb]]\n" + origin + b"usd = 0.016\n"
    yield origin + b"usd = 0.016\n"  # pydantic said so in nine lines


_SEEDS = {
    "accept_header": _accepts,
    "answer": _answers,
    "archive": _archives,
    "dicom": _dicoms,
    "exif": _exif,
    "http": _http,
    "jpeg": _jpegs,
    "json_body": _json_bodies,
    "labels": _labels,
    "manifest": _manifests,
    "measurements": _measurements,
    "multipart": _multiparts,
    "onnx_signature": _onnx,
    "onnx_weights": _onnx_with_weights,
    "png": _pngs,
    "prices": _prices,
    "saved_image": _saved_images,
    "study": _studies,
    "tiff": _tiffs,
    "trace": _traces,
    "transform_file": _transforms,
}
