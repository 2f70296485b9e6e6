"""Recognise photographs that a grader was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.grader.datasets import set_copies_aside

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.datasets import Dataset

SHORT_DIGEST = 12
"""The number of hexadecimal digits of each photograph's SHA-256 that a manifest lists. The
probability that two among a million photographs have the same digits is 0.2 %.
"""


def list_short_digests(dataset: Dataset) -> tuple[str, ...]:
    """Return the first digits of each photograph's SHA-256, sorted, as a manifest stores them."""
    return tuple(sorted({one.sha256[:SHORT_DIGEST] for one in dataset.photographs}))


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
    for part in (once.select_training_part(), once.select_training_part(apart_from="test")):
        if part.digest in manifest.provenance.dataset:
            return frozenset(one.sha256 for one in part.photographs)
    return frozenset()
