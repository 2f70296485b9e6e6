"""Quantization is measured on photographs that the quantized network was not trained on."""

import numpy as np
import pytest
from tiny_training import paint_eyes, tiny_network, tiny_plan

from drdeploy.grader.quantization.out_of_fold import quantized_out_of_fold
from drdeploy.grader.training import train as train_module
from drdeploy.grader.training.train import train


def test_every_fold_is_quantized_and_predicts_its_own_photographs(monkeypatch, tmp_path):
    monkeypatch.setattr(train_module, "build_network", tiny_network)
    monkeypatch.setattr(train_module, "export_network", lambda *_, **__: {})
    monkeypatch.setattr(train_module, "export_keras", lambda _, file, **__: file)
    (tmp_path / "eyes").mkdir()
    plan = tiny_plan(paint_eyes(tmp_path / "eyes"))
    trained = train(plan, tmp_path / "run")
    temperature = trained.clinical.temperature
    noted = []
    quantized = quantized_out_of_fold(plan, tmp_path / "run", temperature, note=noted.append)
    assert len(noted) == 3
    assert quantized.files == trained.out_of_fold.files
    assert quantized.probabilities == pytest.approx(trained.out_of_fold.probabilities, abs=0.05)
    assert not np.array_equal(quantized.probabilities, trained.out_of_fold.probabilities)
