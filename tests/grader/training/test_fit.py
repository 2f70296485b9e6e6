"""What training is made of: recipes, augmentation, labels, weights, calibration, decisions."""

import numpy as np
import pytest

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import Fold
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.training.augmentation import augment_photographs
from drdeploy.grader.training.calibration import (
    apply_temperature,
    choose_operating_points,
    evaluate_cross_fitted_choices,
    fit_temperature,
)
from drdeploy.grader.training.checkpoint import Checkpoint, History
from drdeploy.grader.training.fit import (
    compute_sample_weights,
    learning_rate_at_step,
    smooth_labels_to_neighbours,
)
from drdeploy.grader.training.recipe import Augmentation, Recipe, read_recipe_or_preset


def test_an_unusable_recipe_says_which_field(tmp_path):
    file = tmp_path / "recipe.toml"
    for text in ("epochs = 0", "epoch = 3", "epochs = 'ten'", "epochs ="):
        file.write_text(text)
        with pytest.raises(InvalidInput):
            read_recipe_or_preset(file=file)
    with pytest.raises(InvalidInput, match="study"):
        read_recipe_or_preset("best")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"epochs = 3 # M\xfcller", "not text in UTF-8"),
        (b"epochs = " + b"[" * 5000, "nested too deeply"),
        (b"#" * (4 << 20) + b"#", "more than"),
    ],
)
def test_a_recipe_that_is_no_ordinary_file_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(InvalidInput, match=reason):
        read_recipe_or_preset(file=tmp_path / "recipe.toml")


def test_a_recipe_may_begin_with_the_mark_that_windows_writes(tmp_path):
    (tmp_path / "recipe.toml").write_text("\ufeffepochs = 3\n", encoding="utf-8")
    assert read_recipe_or_preset(file=tmp_path / "recipe.toml").epochs == 3


def test_the_study_s_recipe_leaves_the_base_as_it_is():
    recipe = read_recipe_or_preset("study")
    assert (recipe.trainable, recipe.augmentation, recipe.class_weight_power) == ("head", None, 0)
    assert recipe.precision == "float32"


def test_the_recipe_for_vgg_trains_the_last_blocks_with_smaller_steps():
    recipe, usual = (read_recipe_or_preset(name) for name in ("fine-tuned-vgg", "fine-tuned"))
    assert (recipe.trainable, recipe.frozen_up_to) == ("all", "block3_pool")
    assert recipe.learning_rate < usual.learning_rate


def test_the_learning_rate_rises_and_falls_after_the_epochs_of_the_head():
    choices = {"epochs": 6, "head_epochs": 2, "warm_up_epochs": 1, "learning_rate": 0.1}
    plain, apart = Recipe(**choices), Recipe(**choices, head_learning_rate=0.7)
    rates = [[learning_rate_at_step(at, 10, one) for at in range(60)] for one in (plain, apart)]
    assert rates[0][:10] == pytest.approx(np.linspace(0.01, 0.1, 10))
    assert rates[1][:20] == [0.7] * 20
    assert rates[1][20:30] == pytest.approx(np.linspace(0.01, 0.1, 10))
    for rate in rates:
        assert max(rate[20:]) <= 0.1
        assert rate[-1] == pytest.approx(0, abs=1e-3)
        assert np.all(np.diff(rate[30:]) <= 0)


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
    return augment_photographs(images, 56, 56, np.array(seed, np.int32), chosen).numpy()


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
    labels = smooth_labels_to_neighbours(np.array([0, 2]), 0.1)
    assert labels.sum(axis=1) == pytest.approx([1, 1])
    assert labels[1, 1] == labels[1, 3] > labels[1, 0] > 0
    assert np.array_equal(smooth_labels_to_neighbours(np.array([3]), 0.0)[0], np.eye(5)[3])


def test_rare_grades_weigh_more():
    labels = np.array([0] * 90 + [1] * 10)
    even, full = (compute_sample_weights(labels, power) for power in (0.0, 1.0))
    assert np.all(even == 1)
    assert full[-1] == pytest.approx(9 * full[0], rel=1e-5)
    assert full.mean() == pytest.approx(1, rel=1e-5)


def test_the_temperature_undoes_what_made_probabilities_too_sure():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 1.5
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(5, p=row) for row in honest])
    sure = apply_temperature(honest, 0.5)
    assert fit_temperature(labels, sure) == pytest.approx(2.0, rel=0.07)
    assert np.allclose(apply_temperature(sure, 2.0), honest)


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


def test_rates_of_a_point_with_folds_are_those_of_thresholds_from_other_folds():
    random = np.random.default_rng(1)
    sessions = np.arange(60).repeat(2)
    labels = random.integers(0, 5, 60).repeat(2)
    centre = labels + random.normal(0, 1.2, 60).repeat(2)
    probabilities = np.exp(-((np.arange(5) - centre[:, None]) ** 2))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    folds = [
        Fold(np.flatnonzero(sessions % 3 != at), np.flatnonzero(sessions % 3 == at))
        for at in range(3)
    ]
    how = {"chosen_on": "test", "temperature": 1.0, "groups": sessions}
    naive = choose_operating_points(labels, probabilities, **how).operating_points
    honest = choose_operating_points(labels, probabilities, **how, folds=folds).operating_points
    assert [one.threshold for one in naive] == [one.threshold for one in honest]
    assert [one.cross_fitted for one in honest] == [True] * 4
    assert not any(one.cross_fitted for one in naive)
    found = evaluate_cross_fitted_choices(
        GradedSet(
            files=tuple(map(str, range(120))),
            groups=sessions.astype(str),
            labels=labels,
            probabilities=probabilities,
            reasons=("",) * 120,
        ),
        folds,
    )
    for point in found["operating_points"]:
        [same] = [
            one
            for one in honest
            if (one.name, one.at_or_above) == (point["name"], point["at_or_above"])
        ]
        assert same.specificity.low == pytest.approx(point["specificity"]["low"], abs=1e-4)
    # Two photographs of one session are no two patients: the interval knows.
    alone = choose_operating_points(labels, probabilities, chosen_on="test", temperature=1.0)
    assert naive[0].specificity.low < alone.operating_points[0].specificity.low


def test_one_kind_of_eye_alone_has_no_operating_point():
    healthy = np.zeros(10, int)
    clinical = choose_operating_points(
        healthy, np.full((10, 5), 0.2), chosen_on="test", temperature=1.0
    )
    assert clinical.operating_points == ()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    import tensorflow as tf

    checkpoint = Checkpoint(tmp_path / "c.npz")
    checkpoint.save_state([tf.Variable([1.0, 2.0])], History((0.5,), (None,)))
    restored = tf.Variable([0.0, 0.0])
    assert checkpoint.restore_state([restored]) == History((0.5,), (None,))
    assert restored.numpy().tolist() == [1.0, 2.0]
    with pytest.raises(InvalidInput, match="another network"):
        checkpoint.restore_state([tf.Variable([1.0])])
