"""Recognise photographs that a grader was trained on or recalibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.artifacts.manifest import SHORT_DIGEST
from drdeploy.grader.datasets import set_copies_aside

if TYPE_CHECKING:
    from collections.abc import Collection

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.datasets import Dataset


@dataclass(frozen=True)
class KnownPhotographs:
    """How many of the photographs of an evaluation the grader knew before.

    Attributes:
        photographs: How many photographs were checked.
        trained_on: How many of them the grader was trained on, or None if the manifest does not
            identify the training photographs.
        recalibrated_on: How many of them the grader was recalibrated on, or None if the manifest
            does not identify these photographs. It is 0 for a grader that was not recalibrated.
        prevalence_estimated_on: From how many of them the manifest's prevalence was estimated.
    """

    photographs: int
    trained_on: int | None
    recalibrated_on: int | None
    prevalence_estimated_on: int = 0


def list_short_digests(dataset: Dataset) -> tuple[str, ...]:
    """Return the first digits of each photograph's SHA-256, sorted, as a manifest stores them."""
    return tuple(sorted({one.sha256[:SHORT_DIGEST] for one in dataset.photographs}))


def count_known_photographs(
    manifest: ModelManifest, photographs: Dataset, whole: Dataset
) -> KnownPhotographs:
    """Count the photographs that the grader was trained on, and those it was recalibrated on.

    Args:
        manifest: The grader's manifest.
        photographs: The photographs to check.
        whole: The whole data set that ``photographs`` are taken from.
    """
    is_identified = bool(
        manifest.provenance.trained_on or _find_digests_of_whole_training_set(manifest, whole)
    )
    trained_on = len(find_training_photographs(manifest, photographs, whole))
    return KnownPhotographs(
        photographs=len(photographs),
        trained_on=trained_on if is_identified else None,
        recalibrated_on=_count_recalibration_photographs(manifest, photographs),
        prevalence_estimated_on=0
        if manifest.prevalence is None
        else len(find_listed_photographs(manifest.prevalence.adapted_to, photographs)),
    )


def _count_recalibration_photographs(manifest: ModelManifest, photographs: Dataset) -> int | None:
    if manifest.recalibration is None:
        return 0
    listed = manifest.recalibration.adapted_to
    return len(find_listed_photographs(listed, photographs)) if listed else None


def find_listed_photographs(digests: Collection[str], photographs: Dataset) -> tuple[int, ...]:
    """Return the positions of the photographs whose short digest is in a list of a manifest."""
    listed = frozenset(digests)
    return tuple(
        at for at, one in enumerate(photographs.photographs) if one.sha256[:SHORT_DIGEST] in listed
    )


def find_training_photographs(
    manifest: ModelManifest, photographs: Dataset, whole: Dataset
) -> tuple[int, ...]:
    """Return the positions of photographs that are copies of the grader's training photographs.

    If the manifest lists the training photographs, copies of each are recognised. An older manifest
    holds only one digest of the whole training set. Copies are then recognised only if the data set
    contains the whole training set.

    Args:
        manifest: The grader's manifest.
        photographs: The photographs to check.
        whole: The whole data set that ``photographs`` are taken from.
    """
    listed = frozenset(manifest.provenance.trained_on)
    digests = _find_digests_of_whole_training_set(manifest, whole)
    return tuple(
        at
        for at, one in enumerate(photographs.photographs)
        if one.sha256[:SHORT_DIGEST] in listed or one.sha256 in digests
    )


def _find_digests_of_whole_training_set(manifest: ModelManifest, whole: Dataset) -> frozenset[str]:
    once = set_copies_aside(whole)
    if once.has_split("train") and "train" not in once.splits:
        return frozenset()  # no photograph of the training split is here
    for part in (once.select_training_part(), once.select_training_part(apart_from="test")):
        if part.digest in manifest.provenance.dataset:
            return frozenset(one.sha256 for one in part.photographs)
    return frozenset()
