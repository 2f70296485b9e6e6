"""Write rows as a Parquet table with the columns of ``drdeploy grade --csv``."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drdeploy.files import make_encodable
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from drdeploy.clinic.graded_rows import GradedRow, RowColumns

_TYPES = {
    **dict.fromkeys(("gradable", "referable", "unlike_training"), pa.bool_()),
    "grade": pa.int8(),
    **dict.fromkeys(("probability_referable", "probability_vision_threatening"), pa.float64()),
    **dict.fromkeys(("decode_s", "transform_s", "predict_s"), pa.float64()),
}
_JOINED_ROWS = 65536
"""The number of rows in a row group of the final table. While the shards are joined, memory holds
one row group."""


class ArchiveTable:
    """Writes Parquet files with the columns of a grader.

    Args:
        columns: The columns.
        facts: Names and texts that are written into the metadata of the file.
    """

    def __init__(self, columns: RowColumns, facts: Mapping[str, str] | None = None) -> None:
        self._columns = columns
        types = (
            _TYPES
            | {f"{disease}_{name}": pa.bool_() for disease, name in columns.flags}
            | {f"p_{name}": pa.float64() for name in columns.classes}
        )
        self.schema = pa.schema(
            [(name, types.get(name, pa.string())) for name in columns.column_names],
            metadata={"notice": RESEARCH_USE_NOTICE} | dict(facts or {}),
        )

    def write_rows_of_shard(self, file: BinaryIO, groups: Iterable[Sequence[GradedRow]]) -> None:
        """Write the rows of a shard into a file; ``groups`` yields the rows in several lists."""
        with pq.ParquetWriter(file, self.schema) as writer:
            for rows in groups:
                cells = [self._columns.list_cells(row) for row in rows]
                columns = [
                    [make_encodable(cell) if isinstance(cell, str) else cell for cell in column]
                    for column in zip(*cells, strict=True)
                ]
                writer.write_table(pa.table(columns, schema=self.schema))

    def join_shards(self, file: BinaryIO, parts: Iterable[Path]) -> dict[str, int]:
        """Copy the rows of the shards' files into one file, shard by shard, and count the rows."""
        counts = dict.fromkeys(("rows", "graded", "need_a_human", "failed"), 0)
        with pq.ParquetWriter(file, self.schema) as writer:
            waiting: list[pa.Table] = []
            for part in parts:
                waiting.append(pq.read_table(part, partitioning=None))
                if sum(one.num_rows for one in waiting) >= _JOINED_ROWS:
                    self._write_row_group(writer, waiting, counts)
            if waiting:
                self._write_row_group(writer, waiting, counts)
        return counts

    def _write_row_group(
        self, writer: pq.ParquetWriter, tables: list[pa.Table], counts: dict[str, int]
    ) -> None:
        joined = pa.concat_tables(tables).replace_schema_metadata(self.schema.metadata)
        tables.clear()
        writer.write_table(joined.combine_chunks(), row_group_size=len(joined))
        failed = pc.sum(pc.not_equal(joined["error"], "")).as_py() or 0
        refused = pc.sum(pc.equal(joined["gradable"], pa.scalar(False))).as_py() or 0
        counts["rows"] += len(joined)
        counts["failed"] += failed
        counts["need_a_human"] += refused
        counts["graded"] += len(joined) - failed - refused
