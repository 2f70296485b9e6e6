"""Labelled photographs: read them, find copies, split them by patient.

:func:`load_dataset` recognises the layout of a folder and reads it (``layouts`` holds one reader
for each).  :func:`readable` decodes every photograph once; :func:`deduplicate` keeps one of several
copies; :func:`grouped_folds` and :func:`grouped_split` split by capture session, because two
photographs of one eye in training and test make a grader look better than it is.
:func:`inspect_dataset` reports all of this beforehand, and ``pictures`` draws it.

Nothing is dropped silently: a :class:`Dataset` lists what was set aside, and why.
"""

from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.grader.datasets.duplicates import CopiedPhotograph, deduplicate, find_copies
from drdeploy.grader.datasets.folds import Fold, grouped_folds, grouped_split, leaking_groups
from drdeploy.grader.datasets.inspection import DatasetInspection, inspect_dataset
from drdeploy.grader.datasets.load import load_dataset
from drdeploy.grader.datasets.readability import readable

__all__ = [
    "CopiedPhotograph",
    "Dataset",
    "DatasetInspection",
    "Fold",
    "LabelledPhotograph",
    "SetAside",
    "deduplicate",
    "find_copies",
    "grouped_folds",
    "grouped_split",
    "inspect_dataset",
    "leaking_groups",
    "load_dataset",
    "readable",
]
