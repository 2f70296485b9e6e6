"""Training learns, repeats itself bit by bit, and goes on where it was interrupted."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from drdeploy.artifacts import inspect
from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput
from drdeploy.fundus.synthetic import synthetic_photograph
from drdeploy.grading import Grade
from drdeploy.training import train as train_module
from drdeploy.training.architectures import Architecture
from drdeploy.training.augmentation import augment
from drdeploy.training.calibration import fit_temperature, with_temperature
from drdeploy.training.checkpoint import Checkpoint, History
from drdeploy.training.datasets import load_dataset
from drdeploy.training.fit import sample_weights, soft_labels
from drdeploy.training.operating_points import choose_operating_points
from drdeploy.training.recipe import Augmentation, Recipe, find_recipe
from drdeploy.training.train import Plan, train

SIDE_PX = 48


def tiny_network(architecture: Architecture, class_count: int = 5):
    import keras

    inputs = keras.Input(architecture.input_shape)
    features = keras.layers.Conv2D(8, 5, strides=3, activation="relu")(inputs)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(features)
    features = keras.layers.GlobalMaxPooling2D()(features)
    features = keras.layers.Dense(16, activation="relu", name="hidden_1")(features)
    grades = keras.layers.Dense(class_count, activation="softmax", name="grades")(features)
    return keras.Model(inputs, grades)


@pytest.fixture
def tiny(monkeypatch):
    """A network of a few hundred weights in place of any other."""
    monkeypatch.setattr(train_module, "build_network", tiny_network)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty synthetic eyes, two of a session; the severe ones are much darker."""
    folder = tmp_path_factory.mktemp("eyes")
    rows = ["file,icdr_grade,session_group"]
    for at in range(30):
        grade = Grade(at % 5)
        data = synthetic_photograph(at, grade=grade, width_px=96, height_px=72)
        (folder / f"{at}.jpg").write_bytes(data)
        rows.append(f"{at}.jpg,{int(grade)},{at // 10}-{at % 5}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def plan(folder, **recipe):
    chosen = Recipe(epochs=2, head_epochs=1, batch_size=8, warm_up_epochs=1, **recipe)
    return Plan.make("MobileNet", load_dataset(folder), chosen, side_px=SIDE_PX, folds=3)


def test_the_same_seed_gives_the_same_predictions_to_the_last_bit(tiny, folder, tmp_path):
    runs = [train(plan(folder), tmp_path / name) for name in ("one", "two")]
    one, two = (run.out_of_fold.probabilities for run in runs)
    assert np.array_equal(one, two)
    assert runs[0].clinical == runs[1].clinical


class PowerCutError(Exception):
    pass


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tiny, folder, tmp_path):
    whole = train(plan(folder), tmp_path / "whole")
    epochs = 0

    def cut(name, history):
        nonlocal epochs
        epochs += 1
        if epochs == 3:  # in the middle of the second fold
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train(plan(folder), tmp_path / "cut", on_epoch=cut)
    seen = []
    resumed = train(
        plan(folder), tmp_path / "cut", on_epoch=lambda name, history: seen.append(name)
    )
    assert seen == ["fold_1", "fold_2", "fold_2", "final", "final"]
    assert np.array_equal(whole.out_of_fold.probabilities, resumed.out_of_fold.probabilities)


def test_a_folder_with_another_run_is_refused(tiny, folder, tmp_path):
    train(plan(folder), tmp_path / "run")
    with pytest.raises(InvalidInput, match="other settings"):
        train(plan(folder, smoothing=0.0), tmp_path / "run")


def test_the_command_trains_exports_and_says_how_good_it_is(tiny, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("epochs = 2\nbatch_size = 8\nhead_epochs = 1\n")
    command = ["model", "train", "mobilenet", "--data", str(folder), "--weights", "random"]
    options = ["--recipe", str(recipe), "--size", str(SIDE_PX), "--folds", "3", "--json"]
    result = CliRunner().invoke(build_app(), [*command, *options])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["n"] == 30
    assert document["kappa"]["n"] == 30
    run = tmp_path / "build/training/mobilenet"
    manifest = inspect(run / "exports/mobilenet-fp32-onnx.tar.gz")
    assert (manifest.weights, manifest.transform.height_px) == ("trained", SIDE_PX)
    assert manifest.clinical.grade_thresholds == (0.5, 0.5, 0.5, 0.5)
    assert {point.at_or_above for point in manifest.clinical.operating_points} == {2, 3}
    assert (run / "exports/mobilenet-fp32.keras").is_file()
    assert (run / "history.svg").is_file()
    rows = list(csv.DictReader((run / "oof.csv").open()))
    assert [row["file"] for row in rows] == [f"{at}.jpg" for at in range(30)]


def test_a_stalled_network_stops_early_and_keeps_its_best_weights(tiny, folder, tmp_path):
    result = train(plan(folder, patience=1, learning_rate=1e-9), tmp_path / "run")
    assert len(result.out_of_fold) == 30
    history = list(csv.DictReader((tmp_path / "run/history.csv").open()))
    assert max(int(row["epoch"]) for row in history) <= 2


def test_an_unusable_recipe_says_which_field(tmp_path):
    file = tmp_path / "recipe.toml"
    for text in ("epochs = 0", "epoch = 3", "epochs = 'ten'", "epochs ="):
        file.write_text(text)
        with pytest.raises(InvalidInput):
            find_recipe(file=file)
    with pytest.raises(InvalidInput, match="study"):
        find_recipe("best")


def test_the_study_s_recipe_leaves_the_base_as_it_is():
    recipe = find_recipe("study")
    assert (recipe.trainable, recipe.augmentation, recipe.class_weight_power) == ("head", None, 0)


# ---- the pieces ---------------------------------------------------------------------------


def eye(side_px=64):
    """A disc with a bright spot to the right of its centre."""
    rows, columns = np.mgrid[:side_px, :side_px]
    disc = np.hypot(rows - side_px / 2, columns - side_px / 2) < side_px * 0.45
    image = np.zeros((side_px, side_px, 3), np.uint8)
    image[disc] = (160, 90, 40)
    image[28:36, 44:52] = 250
    return image


def augmented(images, seed=(0, 0), **choices):
    still = {
        "rotation_deg": 0.0, "zoom": (1.0, 1.0), "shift": 0.0, "stretch": 0.0, "brightness": 0.0,
        "colour": 0.0, "gamma": 0.0, "saturation": 0.0, "flips": False,
    }  # fmt: skip
    chosen = Augmentation(**{**still, **choices})
    return augment(images, 56, 56, np.array(seed, np.int32), chosen).numpy()


def test_without_any_choice_an_augmented_photograph_is_the_scaled_one():
    import tensorflow as tf

    images = np.stack([eye()] * 2)
    plain = tf.image.resize(images.astype(np.float32), (56, 56)).numpy()
    assert np.abs(augmented(images) - plain).mean() < 2


def test_the_same_seed_draws_the_same_and_photographs_differ():
    images = np.stack([eye()] * 4)
    one, again = (augmented(images, rotation_deg=180.0, brightness=0.3) for _ in range(2))
    other = augmented(images, seed=(0, 1), rotation_deg=180.0, brightness=0.3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_flips_mirror_half_of_the_photographs():
    images = np.stack([eye()] * 200)
    right = augmented(images, flips=True)[:, 24:32, 38:46].mean(axis=(1, 2, 3)) > 200
    assert 0.35 < right.mean() < 0.65


def test_light_and_colour_stay_within_their_ranges():
    images = np.stack([eye()] * 50)
    mean = augmented(images, brightness=0.2)[:, 10:20, 20:30, 0].mean(axis=(1, 2))
    assert mean.min() >= 160 * np.exp(-0.2) - 1
    assert mean.max() <= 160 * np.exp(0.2) + 1
    assert mean.std() > 5


def test_a_smoothed_label_goes_to_its_neighbours():
    labels = soft_labels(np.array([0, 2]), 0.1)
    assert labels.sum(axis=1) == pytest.approx([1, 1])
    assert labels[1, 1] == labels[1, 3] > labels[1, 0] > 0
    assert np.array_equal(soft_labels(np.array([3]), 0.0)[0], np.eye(5)[3])


def test_rare_grades_weigh_more():
    labels = np.array([0] * 90 + [1] * 10)
    even, full = (sample_weights(labels, power) for power in (0.0, 1.0))
    assert np.all(even == 1)
    assert full[-1] == pytest.approx(9 * full[0], rel=1e-5)
    assert full.mean() == pytest.approx(1, rel=1e-5)


def test_the_temperature_undoes_what_made_probabilities_too_sure():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 1.5
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(5, p=row) for row in honest])
    sure = with_temperature(honest, 0.5)
    assert fit_temperature(labels, sure) == pytest.approx(2.0, rel=0.07)
    assert np.allclose(with_temperature(sure, 2.0), honest)


def test_operating_points_are_chosen_as_they_are_named():
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 500)
    centre = np.clip(labels + random.normal(0, 1, 500), 0, 4)
    logits = -((np.arange(5) - centre[:, None]) ** 2)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    clinical = choose_operating_points(labels, probabilities, chosen_on="test", temperature=1.0)
    points = {(point.name, point.at_or_above): point for point in clinical.operating_points}
    assert len(points) == 4
    for grade in (2, 3):
        sensitive, balanced = (points[name, grade] for name in ("high_sensitivity", "balanced"))
        assert 0.95 <= sensitive.sensitivity.value <= 0.97
        assert sensitive.threshold < balanced.threshold
        total = balanced.sensitivity.value + balanced.specificity.value
        assert total >= sensitive.sensitivity.value + sensitive.specificity.value


def test_one_kind_of_eye_alone_has_no_operating_point():
    healthy = np.zeros(10, int)
    clinical = choose_operating_points(
        healthy, np.full((10, 5), 0.2), chosen_on="test", temperature=1.0
    )
    assert clinical.operating_points == ()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    import tensorflow as tf

    checkpoint = Checkpoint(tmp_path / "c.npz")
    checkpoint.save([tf.Variable([1.0, 2.0])], History((0.5,), (None,)))
    restored = tf.Variable([0.0, 0.0])
    assert checkpoint.restore([restored]) == History((0.5,), (None,))
    assert restored.numpy().tolist() == [1.0, 2.0]
    with pytest.raises(InvalidInput, match="another network"):
        checkpoint.restore([tf.Variable([1.0])])
