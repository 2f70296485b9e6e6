"""Decoding a photograph small is fast and changes no grade."""

import numpy as np
import pytest

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import decode_image
from drdeploy.grader.fundus.photograph import DecodedPhotograph
from drdeploy.grader.inference import InferenceService


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("box") / "model"
    return InferenceService.load(extract_archive(box_artifact("fp32"), folder).folder)


def test_a_scaled_decode_gives_the_grade_of_a_full_one(shared, service):
    transform = service.manifest.transform
    files = sorted((shared / "data/full_resolution").glob("*.jpg"))
    assert len(files) == 11
    for file in files:
        data = file.read_bytes()
        (served,) = service.infer([data])
        assert served.prediction is not None, f"{file.name}: {served.ungradable}"
        whole = DecodedPhotograph.from_pixels(decode_image(data))
        full = service.classifier.predict(apply_transform(transform, whole)[None])[0]
        assert served.prediction.grade == full.grade, file.name
        difference = np.abs(served.prediction.probabilities - full.probabilities).max()
        assert difference < 0.02, f"{file.name}: {difference:.4f}"
