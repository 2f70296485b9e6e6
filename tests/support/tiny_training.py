"""A training that takes seconds: a few hundred weights, thirty painted eyes, two epochs."""

import io

from PIL import Image

from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.grading import Grade
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.grader.training.recipe import Augmentation, Recipe
from drdeploy.grader.training.train import TrainingPlan

SIDE_PX = 48
EYES = 30
QUICK = {
    "epochs": 2,
    "head_epochs": 1,
    "batch_size": 4,
    "warm_up_epochs": 0,
    "learning_rate": 0.01,
    "augmentation": Augmentation(brightness=0.0, colour=0.0, gamma=0.0, saturation=0.0),
}


def tiny_network(architecture, class_count=5):
    """What is built instead of any architecture."""
    import keras

    inputs = keras.Input(architecture.shape_of_input)
    features = keras.layers.Conv2D(8, 5, strides=3, activation="relu")(inputs)
    features = keras.layers.BatchNormalization(name="early")(features)
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="later")(features)
    features = keras.layers.GlobalMaxPooling2D()(features)
    features = keras.layers.Dense(16, activation="relu", name="hidden_1")(features)
    last = keras.layers.Dense(class_count, activation="softmax", dtype="float32", name="grades")
    return keras.Model(inputs, last(features))


def paint_eyes(folder):
    """Six eyes of each grade, two of a session, with their labels; the worse, the darker."""
    rows = ["file,icdr_grade,session_group"]
    for at in range(EYES):
        grade = Grade(at % 5)
        data = paint_synthetic_photograph(at, grade=grade, width_px=96, height_px=72)
        eye = Image.open(io.BytesIO(data)).point(lambda value, g=grade: int(value * (1 - g / 6)))
        eye.save(folder / f"{at}.jpg")
        rows.append(f"{at}.jpg,{int(grade)},{at // 10}-{at % 5}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def tiny_plan(folder, **choices):
    """Three folds, two epochs."""
    recipe = Recipe(**{**QUICK, **choices})
    return TrainingPlan.for_training_split(
        "MobileNet", load_dataset(folder), recipe, side_px=SIDE_PX, folds=3
    )
