"""Labelled photographs, in the layouts that users have.

:func:`load_dataset` finds out which layout a folder has and reads it (``layouts`` holds one
reader each); :func:`readable` decodes every photograph once; :func:`deduplicate` drops what is
there twice; :func:`grouped_folds` and :func:`grouped_split` split by capture session, never by
row.  :func:`inspect_dataset` tells all of it beforehand, and ``pictures`` draws it.

Nothing is dropped silently: a :class:`Dataset` carries what was set aside, and why.
"""

from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.grader.datasets.duplicates import Copies, deduplicate, find_copies
from drdeploy.grader.datasets.folds import Fold, grouped_folds, grouped_split, leaking_groups
from drdeploy.grader.datasets.inspection import Inspection, inspect_dataset
from drdeploy.grader.datasets.load import load_dataset
from drdeploy.grader.datasets.readability import readable

__all__ = [
    "Copies",
    "Dataset",
    "Fold",
    "Inspection",
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
