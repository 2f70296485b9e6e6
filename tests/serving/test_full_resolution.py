"""Decoding a photograph small is fast and changes no grade."""

import numpy as np
import pytest

from drdeploy.artifacts import extract
from drdeploy.box import box_artifact
from drdeploy.fundus.apply import apply, decode_for
from drdeploy.fundus.decode import decode
from drdeploy.runtimes.classifier import Classifier
from drdeploy.runtimes.load import load_runtime


@pytest.fixture(scope="module")
def grader(tmp_path_factory):
    artifact = extract(box_artifact("fp32"), tmp_path_factory.mktemp("box") / "model")
    return Classifier(artifact, load_runtime(artifact))


def test_a_scaled_decode_gives_the_grade_of_a_full_one(shared, grader):
    transform = grader.artifact.manifest.transform
    files = sorted((shared / "data/full_resolution").glob("*.jpg"))
    assert len(files) == 11
    for file in files:
        data = file.read_bytes()
        whole, small = decode(data), decode_for(transform, data)
        assert small.size < whole.size / 3
        full, scaled = (grader.predict(apply(transform, one)[None])[0] for one in (whole, small))
        assert scaled.grade == full.grade, file.name
        difference = np.abs(scaled.probabilities - full.probabilities).max()
        assert difference < 0.02, f"{file.name}: {difference:.4f}"
