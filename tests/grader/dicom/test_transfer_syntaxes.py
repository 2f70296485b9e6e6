"""The same eye in every transfer syntax has the same grade."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import EYE, as_bytes, encapsulate, make_dataset, rewrite_with_dcmtk
from image_files import encoded
from PIL import Image

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

import jpeg_ls
import openjpeg
from pydicom import uid

from drdeploy.grader.box import box_artifact
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.inference import InferenceService

CODESTREAMS = Path(__file__).with_name("codestreams")


@pytest.fixture(scope="module")
def service():
    return InferenceService.load(box_artifact())


@pytest.fixture(scope="module")
def eye():
    """At the size of the HTJ2K files beside this test, for which there is no encoder here."""
    return np.asarray(Image.open(EYE).convert("RGB").reduce(5))


def dcmtk(program, *options):
    return lambda pixels: rewrite_with_dcmtk(as_bytes(make_dataset(pixels)), program, *options)


def compressed(syntax, photometric, encode):
    return lambda pixels: as_bytes(
        encapsulate(make_dataset(pixels, photometric=photometric), [encode(pixels)], syntax)
    )


def native(pixels):
    return as_bytes(make_dataset(pixels))


def run_lengths(pixels):
    dataset = make_dataset(pixels)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    return as_bytes(dataset)


def stored(name):
    return lambda _: (CODESTREAMS / name).read_bytes()


LOSSLESS = {
    "explicit": native,
    "implicit": dcmtk("dcmconv", "+ti"),
    "deflated": dcmtk("dcmconv", "+td"),
    "RLE": run_lengths,
    "JPEG lossless": dcmtk("dcmcjpeg", "+el"),
    "JPEG lossless SV1": dcmtk("dcmcjpeg", "+e1"),
    "JPEG-LS": compressed(
        uid.JPEGLSLossless, "RGB", lambda pixels: bytes(jpeg_ls.encode_array(pixels))
    ),
    "JPEG-LS of dcmtk": dcmtk("dcmcjpls"),
    "JPEG 2000": compressed(
        uid.JPEG2000Lossless, "YBR_RCT", lambda pixels: openjpeg.encode(pixels, use_mct=True)
    ),
    "HTJ2K": compressed(uid.HTJ2KLossless, "YBR_RCT", stored("lossless.j2c")),
    "HTJ2K RPCL": compressed(uid.HTJ2KLosslessRPCL, "YBR_RCT", stored("lossless.j2c")),
}
LOSSY = {
    "JPEG baseline": dcmtk("dcmcjpeg", "+eb", "+q", "95"),
    "JPEG baseline in RGB": dcmtk("dcmcjpeg", "+eb", "+q", "95", "+cr"),
    "JPEG extended": dcmtk("dcmcjpeg", "+ee", "+q", "95"),
    "JPEG-LS near lossless": dcmtk("dcmcjpls", "+en", "+md", "2"),
    "JPEG 2000": compressed(
        uid.JPEG2000,
        "YBR_ICT",
        lambda pixels: openjpeg.encode(pixels, use_mct=True, compression_ratios=[6]),
    ),
    "HTJ2K": compressed(uid.HTJ2K, "YBR_ICT", stored("lossy.j2c")),
}


def graded(service, data):
    (found,) = service.infer([data])
    assert found.prediction is not None, found.ungradable
    return found.prediction


def graded_dicom(service, data):
    (photograph,) = DicomFile.open(data).decode_photographs()
    return graded(service, photograph.data)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_file_has_the_probabilities_of_its_picture(name, service, eye):
    expected = graded(service, encoded(Image.fromarray(eye), "PNG"))
    found = graded_dicom(service, LOSSLESS[name](eye))
    assert found.probabilities.tolist() == expected.probabilities.tolist()


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_file_has_nearly_the_probabilities_of_its_picture(name, service, eye):
    expected = graded(service, encoded(Image.fromarray(eye), "PNG"))
    found = graded_dicom(service, LOSSY[name](eye))
    assert found.grade == expected.grade
    assert np.abs(found.probabilities - expected.probabilities).max() <= 0.02


@pytest.mark.parametrize("photograph", sorted(EYE.parent.glob("*.jpg")), ids=lambda path: path.stem)
def test_a_jpeg_in_dicom_has_the_very_probabilities_of_the_jpeg(photograph, service):
    data = photograph.read_bytes()
    with Image.open(photograph) as image:
        shape = (image.height, image.width, 3)
    dataset = make_dataset(np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422")
    dataset.Rows, dataset.Columns = shape[:2]
    wrapped = as_bytes(encapsulate(dataset, [data], uid.JPEGBaseline8Bit))
    (frame,) = DicomFile.open(wrapped).decode_photographs()
    (found,), (expected,) = service.infer([frame.data]), service.infer([data])
    assert found.ungradable == expected.ungradable
    if expected.prediction is not None:
        assert found.prediction.probabilities.tolist() == expected.prediction.probabilities.tolist()


def grey_levels(data):
    (photograph,) = DicomFile.open(data).decode_photographs()
    return np.asarray(Image.open(io.BytesIO(photograph.data)).convert("RGB"))[..., 0].astype(int)


@pytest.mark.parametrize(
    ("program", "options", "bits", "tolerance"),
    [
        ("dcmcjpeg", ["+e1"], 16, 0),
        ("dcmcjpeg", ["+el"], 12, 0),
        ("dcmcjpeg", ["+ee", "+q", "95"], 12, 2),
        ("dcmcjpls", [], 16, 0),
        ("dcmcrle", [], 16, 0),
        ("dcmconv", ["+ti"], 12, 0),
    ],
)
def test_more_than_8_bits_are_decoded_and_scaled(program, options, bits, tolerance, eye):
    grey = eye[..., 1].astype(np.uint16) * 257 >> (16 - bits)
    data = as_bytes(make_dataset(grey, bits=bits))
    found = grey_levels(rewrite_with_dcmtk(data, program, *options))
    assert np.abs(found - eye[..., 1]).max() <= tolerance
