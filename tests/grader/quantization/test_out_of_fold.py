"""Quantization is measured on photographs that the quantized network was not trained on."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from tiny_training import paint_eyes, tiny_network, tiny_plan

from drdeploy.grader.training import train as train_module
from drdeploy.grader.training.train import train_grader

ROOT = Path(__file__).parents[3]


def test_every_fold_is_quantized_and_predicts_its_own_photographs(monkeypatch, tmp_path):
    monkeypatch.setattr(train_module, "build_network", tiny_network)
    monkeypatch.setattr(train_module, "export_network_as_archives", lambda *_, **__: {})
    monkeypatch.setattr(train_module, "export_network_as_keras_file", lambda _, file, **__: file)
    (tmp_path / "eyes").mkdir()
    plan = tiny_plan(paint_eyes(tmp_path / "eyes"))
    trained = train_grader(plan, tmp_path / "run")
    temperature = trained.clinical.temperature
    script = runpy.run_path(str(ROOT / "scripts/quantize_out_of_fold.py"))
    noted = []
    quantized = script["quantized_out_of_fold"](
        plan, tmp_path / "run", temperature, note=noted.append
    )
    assert len(noted) == 3
    assert quantized.files == trained.out_of_fold.files
    assert quantized.probabilities == pytest.approx(trained.out_of_fold.probabilities, abs=0.05)
    assert not np.array_equal(quantized.probabilities, trained.out_of_fold.probabilities)
