"""Every parser of bytes that a stranger may send, as a function that fuzzing can call.

A target takes any bytes.  It returns, or raises what its parser promises to raise; every other
exception is a finding, and so is an input that takes longer or more memory than its budget.
"""

from __future__ import annotations

import asyncio
import atexit
import gzip
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
MAX_PIXELS = 250_000
"""Of the pictures that are decoded: fuzzing tries thousands a second, and a larger picture costs
more of the same."""


@dataclass(frozen=True)
class Target:
    """A parser under test.

    Attributes:
        parse: Calls it.
        modules: Whose branches guide the fuzzing, with all that is below them.
        max_bytes: Longest input.
        budget_s: CPU time for one input.
        memory_mb: For the whole process, with Python, the parser and the fuzzer.
        inputs: How many inputs the tests try: about ten seconds' worth.
    """

    parse: Callable[[bytes], object]
    modules: tuple[str, ...]
    max_bytes: int = 4096
    budget_s: float = 1.0
    memory_mb: int = 768
    inputs: int = 50_000


TARGETS: dict[str, Target] = {}


def target(*modules: str, **budgets: int) -> Callable[[Callable[[bytes], object]], object]:
    """Register a function under its name."""

    def register(parse: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[parse.__name__] = Target(parse, modules, **budgets)
        return parse

    return register


def check_refusal(error: DrdeployError) -> None:
    """Check what every error promises: one line, one sentence, and for clients a 4xx status."""
    assert "\n" not in error.sentence, repr(error.sentence)
    assert error.sentence.endswith("."), repr(error.sentence)
    assert not isinstance(error, RequestRefused) or 400 <= error.http_status < 500


@cache
def scratch() -> Path:
    """Return a folder for parsers that read files; it is removed when the process ends."""
    memory = Path("/dev/shm")  # a disk would be what is measured
    folder = Path(
        tempfile.mkdtemp(prefix="drdeploy-fuzz-", dir=memory if memory.is_dir() else None)
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def written(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


# ---- photographs --------------------------------------------------------------------------


def decode(data: bytes) -> None:
    from drdeploy.grader.fundus.decode import ImageLimits, decode_image

    pixels = decode_image(data, limits=ImageLimits(max_pixels=MAX_PIXELS), min_side_px=20)
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


IMAGE_MODULES = ("drdeploy.grader.fundus", "PIL")


@target(*IMAGE_MODULES)
def jpeg(data: bytes) -> None:
    decode(b"\xff\xd8\xff" + data[3:])


@target(*IMAGE_MODULES)
def png(data: bytes) -> None:
    decode(with_checksums(b"\x89PNG\r\n\x1a\n" + data[8:]))


def with_checksums(data: bytes) -> bytes:
    """Make the checksums of a PNG right, or every mutation would end at the first of them."""
    fixed = bytearray(data)
    position = 8
    while position + 12 <= len(fixed):
        end = position + 8 + int.from_bytes(fixed[position : position + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[position + 4 : end]).to_bytes(4)
        position = end + 4
    return bytes(fixed)


@target(*IMAGE_MODULES)
def tiff(data: bytes) -> None:
    decode((b"II*\0" if data[:1] < b"M" else b"MM\0*") + data[4:])


@target("drdeploy.grader.fundus")
def exif(data: bytes) -> None:
    from drdeploy.grader.fundus.formats.ifd import read_exif_orientation

    assert 1 <= read_exif_orientation(data) <= 8


@target("drdeploy.grader.dicom", "pydicom", budget_s=2, memory_mb=1024, inputs=8_000)
def dicom(data: bytes) -> None:
    """Whatever is compressed goes to the decoders of other people, so that is only cut out."""
    from drdeploy.grader.dicom import opening
    from drdeploy.grader.dicom.decoding import cut_out_frames
    from drdeploy.grader.dicom.photographs import DicomFile
    from drdeploy.grader.fundus.limits import ImageLimits

    limits = ImageLimits(max_pixels=MAX_PIXELS, max_bytes=MIB)
    file = DicomFile.open(data[:128] + b"DICM" + data[132:], limits=limits)
    assert file.laterality in {"left", "right", ""}
    for tag in file.dataset.keys():  # noqa: SIM118 - a loop over it would read vendors' elements
        if not tag.is_private and tag.group < 0x7FE0:
            str(file.dataset[tag].value)  # as reports and exports do
    if file.pixels.syntax in opening.NATIVE:
        assert all(photograph.data for photograph in file.decode_photographs())
        return
    with opening.refuse_damaged_file():
        cut_out_frames(file.dataset, file.pixels)


# ---- models -------------------------------------------------------------------------------


@target("drdeploy.grader.artifacts", "tarfile", max_bytes=16_384, inputs=6_000)
def archive(data: bytes) -> None:
    from drdeploy.grader.artifacts import (
        ArchiveLimits,
        extract_archive,
        open_artifact,
        verify_archive,
    )

    limits = ArchiveLimits(max_bytes=2 * MIB, max_files=100)
    tar = gzip.compress(with_tar_checksums(data), 1)
    file = written("archive/model.tar.gz", tar)
    folder = file.with_name("extracted")
    try:
        verified = verify_archive(file, limits=limits)
        extracted = extract_archive(file, folder, limits=limits)
        assert extracted.manifest == verified
        # A server opens what SageMaker extracted, and must see the same model.
        opened = open_artifact(folder)
        assert (opened.folder, opened.digest) == (extracted.folder, extracted.digest)
        assert opened.unused == extracted.unused
    finally:
        unpacked = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder, ignore_errors=True)
        assert unpacked <= limits.max_bytes, unpacked
        assert [path.name for path in file.parent.iterdir()] == [file.name]


def with_tar_checksums(data: bytes) -> bytes:
    """Make the checksums of a tar file's headers right."""
    fixed = bytearray(data) + bytes(-len(data) % tarfile.BLOCKSIZE)
    position = 0
    while position + tarfile.BLOCKSIZE <= len(fixed):
        header = fixed[position : position + tarfile.BLOCKSIZE]
        if any(header):
            total, _ = tarfile.calc_chksums(bytes(header))
            fixed[position + 148 : position + 156] = b"%06o\0 " % total
        try:
            size = max(tarfile.nti(bytes(header[124:136])), 0)
        except tarfile.HeaderError:
            size = 0
        position += tarfile.BLOCKSIZE * (1 + -(-size // tarfile.BLOCKSIZE))
    return bytes(fixed)


@target("drdeploy.hosting.images", "tarfile", max_bytes=16_384)
def saved_image(data: bytes) -> None:
    from drdeploy.hosting.images.saved_image import read_saved_image

    read_saved_image(iter([with_tar_checksums(data)]), is_known_layer=lambda _: False)


@target("drdeploy.grader.artifacts")
def manifest(data: bytes) -> None:
    from drdeploy.grader.artifacts.manifest import decode_manifest, encode_manifest

    decoded = decode_manifest(data)
    assert decode_manifest(encode_manifest(decoded)) == decoded


@target("drdeploy.grader.runtimes", inputs=12_000)
def onnx_signature(data: bytes) -> None:
    from drdeploy.grader.artifacts import ModelArtifact, ModelManifest
    from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

    manifest = ModelManifest(
        name="fuzzed",
        architecture="unknown",
        weights="unknown",
        model_format="onnx",
        entry="model.onnx",
    )
    load_model_in_runtime(
        ModelArtifact(written("model.onnx", data).parent, manifest, ""), threads=1
    )


@target("drdeploy.grader.artifacts")
def onnx_weights(data: bytes) -> None:
    from drdeploy.grader.artifacts.packing import list_model_files_by_member_name

    # What an ONNX file names is packed and published, so it names nothing from elsewhere.
    file = written("onnx/grader.onnx", data)
    written("onnx/grader.onnx.data", b"weights")
    for name, path in list_model_files_by_member_name(file, "onnx").items():
        assert path.resolve().parent == file.resolve().parent, name


@target("drdeploy.grader.artifacts", "tomllib", "msgspec")
def transform_file(data: bytes) -> None:
    from drdeploy.grader.artifacts.packing import read_transform_file

    read_transform_file(written("transform.json" if data[:1] == b"{" else "transform.toml", data))


# ---- requests -----------------------------------------------------------------------------


@cache
def budgets() -> object:
    """Return what a request may cost a server of one worker, with bodies of a megabyte."""
    from drdeploy.hosting.serving.budgets import make_worker_budgets
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

    capacity = Capacity(workers=1, concurrency=1, threads=1)
    return make_worker_budgets(Settings(max_payload_mb=1), capacity)


@target("drdeploy.hosting.serving", "python_multipart")
def multipart(data: bytes) -> None:
    from drdeploy.hosting.serving.payload import extract_images_from_body

    head, _, body = data.partition(b"\n")
    content_type = "multipart/form-data" + head.decode("latin-1")
    for image in extract_images_from_body(content_type, body, budgets()):
        assert len(image) <= len(body)


@target("drdeploy.hosting.serving")
def json_body(data: bytes) -> None:
    from drdeploy.hosting.serving.payload import extract_images_from_body

    for image in extract_images_from_body("application/json", data, budgets()):
        assert len(image) <= len(data)


@target("drdeploy.hosting.serving")
def accept_header(data: bytes) -> None:
    from drdeploy.hosting.serving.negotiation import choose_answer_form

    assert choose_answer_form(data.decode("latin-1")) in {"json", "csv", "csv without header"}


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_open = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.is_open = False

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def is_closing(self) -> bool:
        return not self.is_open

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class EchoingGateway:
    """Reads a request's body, as the real one does, and answers with its length."""

    @staticmethod
    def clock() -> float:
        return 0.0

    @staticmethod
    def count_and_refuse_request(error):
        from drdeploy.hosting.serving.exchange import make_refusal_response

        return make_refusal_response(error)

    async def answer_request(self, request, chunks):
        from drdeploy.hosting.serving.exchange import make_json_response

        return make_json_response({"bytes": sum([len(chunk) async for chunk in chunks])})


@target("drdeploy.hosting.serving")
def http(data: bytes) -> None:
    """The first byte says in how many reads the rest arrives."""
    asyncio.run(talk(data[1:], reads=1 + data[0] % 8 if data else 1))


async def talk(data: bytes, *, reads: int) -> None:
    from drdeploy.hosting.serving.lean.protocol import HttpConnection
    from drdeploy.hosting.serving.lean.server import LeanServer

    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    log = SimpleNamespace(
        write_failure=lambda name, error, **_: problems.append((name, error)),
        write_event=lambda *_, **__: None,
    )
    server = LeanServer(EchoingGateway(), budgets(), log)
    wire = Wire()
    connection = HttpConnection(server)
    connection.connection_made(wire)
    step = -(-len(data) // reads) or 1
    for start in range(0, len(data), step):
        if not wire.is_open:
            break
        connection.data_received(data[start : start + step])
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    assert not problems, problems
    assert not wire.sent or wire.sent.startswith(b"HTTP/1.1 "), wire.sent[:80]


# ---- tables and documents -----------------------------------------------------------------


@target("drdeploy.study.design", "tomllib")
def study(data: bytes) -> None:
    from drdeploy.study.design.study import Study

    Study.load(written("study.toml", data))


@target("drdeploy.study.recommendation.traffic")
def trace(data: bytes) -> None:
    from drdeploy.study.recommendation.trace import read_arrivals_from_trace

    read_arrivals_from_trace(written("trace.csv", data))


@target("drdeploy.study.measurements", inputs=10_000)
def measurements(data: bytes) -> None:
    from drdeploy.study.measurements.load import load_results_folder

    load_results_folder(written("measurements.csv", data))


# A photograph of 8 x 8 pixels, which a table may name.
SMALL_JPEG = bytes.fromhex(
    "ffd8ffdb004300" + "10" * 64 + "ffc0000b080008000801011100"
    "ffc40014000100000000000000000000000000000008ffc40014100100000000000000000000000000000000"
    "ffda0008010100003f007fffd9"
)


@target("drdeploy.study.running.sending")
def answer(data: bytes) -> None:
    from drdeploy.study.running.sending import ContainerAnswer

    ContainerAnswer.read_fields_of_body(data)


@target("drdeploy.grader.datasets", inputs=20_000)
def labels(data: bytes) -> None:
    from drdeploy.grader.datasets.load import load_dataset
    from drdeploy.photograph_names import PhotographNames

    written("labels/a.jpg", SMALL_JPEG)
    load_dataset(written("labels/labels.csv", data), names=PhotographNames(bytes(32)))


@target("drdeploy.hosting.sagemaker", "tomllib")
def prices(data: bytes) -> None:
    from drdeploy.hosting.sagemaker.price_sheet import PriceSheet

    PriceSheet.load(written("prices.toml", data))


def run(name: str, data: bytes) -> bool:
    """Parse an input; return whether it was accepted, and raise what is a finding.

    Raises:
        Exception: Whatever the parser does not promise to raise.
    """
    try:
        TARGETS[name].parse(data)
    except DrdeployError as error:
        check_refusal(error)
        return False
    return True
