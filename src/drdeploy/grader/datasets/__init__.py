"""Read labelled photographs, find copies, and split data sets by patient.

:func:`load_dataset` recognises the layout of a folder and reads it; ``layouts`` holds one reader
for each layout. The function :func:`set_undecodable_aside` decodes every photograph once. The
function :func:`set_copies_aside` keeps only one copy of a photograph that occurs several times. The
functions :func:`split_into_grouped_folds` and :func:`split_once_by_group` keep the photographs of a
capture session together. Otherwise, a grader would be tested on eyes that it was trained on, and
its results would look too good. The function :func:`inspect_dataset` reports on a data set before
training, and ``pictures`` draws sample photographs and the class distribution.

A :class:`Dataset` lists every photograph that was set aside, with the reason.
"""

from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.grader.datasets.duplicates import (
    CopiedPhotograph,
    find_copied_photographs,
    set_copies_aside,
)
from drdeploy.grader.datasets.folds import (
    Fold,
    find_leaking_groups,
    split_into_grouped_folds,
    split_once_by_group,
)
from drdeploy.grader.datasets.inspection import (
    DatasetInspection,
    inspect_dataset,
    set_undecodable_aside,
)
from drdeploy.grader.datasets.load import load_dataset

__all__ = [
    "CopiedPhotograph",
    "Dataset",
    "DatasetInspection",
    "Fold",
    "LabelledPhotograph",
    "SetAside",
    "find_copied_photographs",
    "find_leaking_groups",
    "inspect_dataset",
    "load_dataset",
    "set_copies_aside",
    "set_undecodable_aside",
    "split_into_grouped_folds",
    "split_once_by_group",
]
