"""Grade the shards of an archive with Ray Data.

Ray Data gets the shards in groups of limited size, called windows. It therefore needs no more
memory for a large archive than for a small one. One task grades one shard. The worker processes
keep the model loaded for the next window.

If the worker process of a task is killed, the task is repeated once. If the second worker is killed
too, each photograph of the shard is graded in a task of its own. If the worker of such a task is
killed, the task is repeated up to twice. If the worker is killed all three times, the photograph
gets a row with an error.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.archive_grading.grading import (
    ArchiveUnreadable,
    GradedFile,
    grade_photographs_at_places,
    read_graded_files,
)
from drdeploy.clinic.archive_grading.ray_session import count_workers
from drdeploy.clinic.graded_rows import GradedRow
from drdeploy.errors import ClinicError
from drdeploy.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob, Shard
    from drdeploy.clinic.archive_grading.grading import WorkerSettings
    from drdeploy.clinic.graded_rows import RowColumns
    from drdeploy.photograph_names import PhotographNames

WINDOW_SHARDS = 256
"""The number of shards in a window, for each worker."""
TASKS_PER_WORKER = 2
"""How many tasks Ray Data hands to Ray for each worker: one that runs, and one that waits. Ray Data
notices the end of a task only after 0.2 seconds; the worker takes the waiting task at once."""
REPORT_WAIT_S = 30
"""After how many seconds a user is told that a node has not loaded the model yet."""
SHARD_RETRIES = 1
PHOTOGRAPH_RETRIES = 2
ENDED_WORKER = (
    f"The photograph was tried {PHOTOGRAPH_RETRIES + 1} times, and each time the grading process "
    "ended unexpectedly."
)


class RayArchiveJob:
    """Grades the photographs of a job that have no rows yet, and saves their rows.

    Args:
        ray: The module ``ray``, connected to the running Ray.
        checkpoint: The folder that holds the list and the rows.
        columns: The columns of the table.
        names: The rule by which photographs are named in the table.
        settings: The settings of the workers.
        grade: Grades photographs in a worker.
        report_state: Called with a sentence if a node of a cluster keeps the run waiting.
    """

    def __init__(
        self,
        ray: Any,
        checkpoint: ArchiveCheckpoint,
        columns: RowColumns,
        names: PhotographNames,
        settings: WorkerSettings,
        *,
        grade: Callable[[Sequence[str], WorkerSettings], bytes] = grade_photographs_at_places,
        report_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ray = ray
        self._checkpoint = checkpoint
        self._columns = columns
        self._names = names
        self._settings = settings
        self._grade = grade
        self._report_state = report_state
        self.workers = count_workers(ray)

    def grade_archive_on_ray(self, job: ArchiveJob, report: Callable[[int], None]) -> None:
        """Grade the photographs that have no row yet.

        Args:
            job: The job.
            report: Called with the number of photographs whose rows were just saved.

        Raises:
            ClinicError: The archive cannot be read, or no worker can grade.
        """
        self._check_nodes()
        shards = self._checkpoint.iterate_ungraded_shards(job)
        while window := list(islice(shards, WINDOW_SHARDS * self.workers)):
            try:
                self._grade_shards_in_parallel(window, report)
            except ArchiveUnreadable as error:
                raise ClinicError(
                    str(error), remedy="Remove this cause, then run the same command again"
                ) from error

    def _check_nodes(self) -> None:
        """Load the model on every node before the grading begins, to find faulty nodes early.

        Raises:
            ClinicError: A node cannot grade.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        check = self._ray.remote(num_cpus=1, max_retries=SHARD_RETRIES)(self._grade)
        checks = [
            (
                node["NodeManagerAddress"],
                check.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote([], self._settings),
            )
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        ]
        for address, result in checks:
            if not self._ray.wait([result], timeout=REPORT_WAIT_S)[0]:
                self._report_state(
                    f"the node {address} has not loaded the model yet. If other programs use all "
                    "its processors, grading begins when they end"
                )
            try:
                read_graded_files(self._ray.get(result))
            except Exception as error:  # from Ray, or from an import that fails on the node
                raise ClinicError(
                    f"The node cannot grade: {' '.join(str(error).split())[:300]}",
                    where=str(address),
                    remedy="Install the same versions of Python, Ray and drdeploy on each node, "
                    "and put the photographs and the model at the same paths",
                ) from error

    def _grade_shards_in_parallel(
        self, window: Sequence[Shard], report: Callable[[int], None]
    ) -> None:
        missing = {shard.number: shard for shard in window}
        tasks = {f"{shard.number}": [one.place for one in shard.photographs] for shard in window}
        for key, files in self._yield_results_of_tasks(tasks, SHARD_RETRIES):
            shard = missing.pop(int(key))
            self._write_rows_of_shard(shard, files)
            report(len(shard.photographs))
        for shard in missing.values():  # those whose workers were killed
            self._write_rows_of_shard(shard, self._grade_one_by_one(shard))
            report(len(shard.photographs))

    def _grade_one_by_one(self, shard: Shard) -> list[GradedFile]:
        tasks = {f"{at}": [one.place] for at, one in enumerate(shard.photographs)}
        found = dict(self._yield_results_of_tasks(tasks, PHOTOGRAPH_RETRIES))
        return [
            *(
                found[key][0]
                if key in found
                else GradedFile(place, "", (GradedRow("", error=ENDED_WORKER),))
                for key, (place,) in tasks.items()
            )
        ]

    def _write_rows_of_shard(self, shard: Shard, files: Sequence[GradedFile]) -> None:
        rows = [row for one in files for row in one.make_rows_with_file_name(self._names)]
        self._checkpoint.write_rows(shard.number, rows, self._columns)

    def _yield_results_of_tasks(
        self, tasks: Mapping[str, Sequence[str]], retries: int
    ) -> Iterator[tuple[str, list[GradedFile]]]:
        """Yield the result of each task when the task ends.

        A task whose worker was killed each time yields no result.
        """
        items = [
            {"key": key, "places": json.dumps(places).encode("ascii")}
            for key, places in tasks.items()
        ]
        graded = self._ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            partial(grade_block, settings=self._settings, grade=self._grade),
            batch_size=None,
            compute=self._ray.data.TaskPoolStrategy(
                size=min(len(items), self.workers * TASKS_PER_WORKER)
            ),
            num_cpus=1,
            max_retries=retries,
        )
        for batch in graded.iter_batches(batch_size=None, prefetch_batches=0):
            for key, result in zip(batch["key"], batch["result"], strict=True):
                yield str(key), read_graded_files(bytes(result))


def grade_block(
    block: Mapping[str, Any],
    *,
    settings: WorkerSettings,
    grade: Callable[[Sequence[str], WorkerSettings], bytes],
) -> dict[str, Any]:
    """Grade the photographs of a block of Ray Data; runs in a worker."""
    results = [grade(parse_json(bytes(one)), settings) for one in block["places"]]
    return {"key": list(block["key"]), "result": results}
