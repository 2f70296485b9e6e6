"""Read further columns of a table of labels, for example the camera, the site or the patient."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets.tables import is_missing_value, simplify_column_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from drdeploy.grader.datasets.dataset import Dataset
    from drdeploy.photograph_names import PhotographNames


def find_column(wanted: str, columns: Iterable[str], *, option: str, where: str) -> str:
    """Return the name of a column as it is written in the table.

    Args:
        wanted: The name that the user gave. If no column has exactly this name, capital letters,
            spaces and text in brackets may differ from the table.
        columns: The names of the table's columns.
        option: The command-line option that named the column; the error quotes it.
        where: The path of the table, or of the folder that holds it, which the error shows.

    Raises:
        InvalidInput: The table does not have the column; the remedy lists the table's columns.
    """
    known = [name for name in dict.fromkeys(columns) if name]
    if wanted in known:
        return wanted
    for name in known:
        if simplify_column_name(name) == simplify_column_name(wanted):
            return name
    raise InvalidInput(
        f"{option} names the column '{wanted}', which the table of labels does not have",
        where=where,
        remedy=f"The columns are: {', '.join(known) or 'none'}",
    )


def read_dataset_column(dataset: Dataset, column: str, *, option: str) -> NDArray[np.str_]:
    """Return the cells of one column, in shape ``(n,)``; a missing cell is empty.

    Args:
        dataset: Photographs that a table of labels lists.
        column: The name of the column.
        option: The command-line option that named the column; the error quotes it.

    Raises:
        InvalidInput: No table of the data set has the column.
    """
    columns = (name for one in dataset.photographs for name, _ in one.cells)
    name = find_column(column, columns, option=option, where=str(dataset.folder))
    return np.array([dict(one.cells).get(name, "") for one in dataset.photographs], dtype=np.str_)


def group_by_patient_column(dataset: Dataset, column: str, names: PhotographNames) -> Dataset:
    """Return the data set with its photographs grouped by patient; a column names the patients.

    Raises:
        InvalidInput: No table of the data set has the column, or a photograph has no patient.
    """
    patients = read_dataset_column(dataset, column, option="--patient")
    missing = sum(map(is_missing_value, patients.tolist()))
    if missing:
        raise InvalidInput(
            f"The column '{column}' must name the patient of every photograph, but {missing} of "
            f"{len(dataset)} photographs {'has' if missing == 1 else 'have'} no patient",
            where=str(dataset.folder),
            remedy="Fill the column, or leave --patient out",
        )
    photographs = tuple(
        replace(
            one, group=str(patient), group_name=names.name_of_table_entry("group", str(patient))
        )
        for one, patient in zip(dataset.photographs, patients, strict=True)
    )
    return replace(dataset, photographs=photographs, group_unit="patient")
