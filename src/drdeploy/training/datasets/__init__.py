"""Labelled photographs, in the layouts that users have.

:func:`load_dataset` finds out which layout a folder has and reads it (``layouts`` holds one
reader each); :func:`deduplicate` drops what is there twice; :func:`grouped_folds` splits by
capture session, never by row.  Nothing is dropped silently: a :class:`Dataset` carries what was
set aside, and why.
"""

from drdeploy.training.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.training.datasets.duplicates import deduplicate
from drdeploy.training.datasets.folds import Fold, grouped_folds, leaking_groups
from drdeploy.training.datasets.load import load_dataset

__all__ = [
    "Dataset",
    "Fold",
    "LabelledPhotograph",
    "SetAside",
    "deduplicate",
    "grouped_folds",
    "leaking_groups",
    "load_dataset",
]
