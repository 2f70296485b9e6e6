"""Filter what the model receives, and join the input with the answers.

Source: developer guide, "Associate Prediction Results with Input Records"; API reference,
``DataProcessing``. An answer is joined with the whole input record, not with the part that
``InputFilter`` selects.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from drdeploy.files import parse_json
from drdeploy.hosting.local.batch_transform.json_path import JsonPath, JsonPathMismatch
from drdeploy.hosting.local.batch_transform.records import RecordFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
FORMATS = (CSV, JSON, JSON_LINES)
"""The content types whose records can be filtered and joined (developer guide)."""
INPUT_KEY, OUTPUT_KEY = "SageMakerInput", "SageMakerOutput"


def read_media_type(content_type: str | None) -> str:
    """Return a content type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class DataProcessing:
    """The filters and the join of a transform job.

    Attributes:
        input_filter: Selects the part of a record that the model receives.
        output_filter: Selects the part of a joined record that is written.
        joins_input: Whether the input is written with the answer.
        content_type: The content type of the input and of the answers; one of ``FORMATS``.
        splits_lines: Whether each line of the input is a record.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    joins_input: bool
    content_type: str
    splits_lines: bool

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Self:
        """Return the data processing that a checked request asks for."""
        asked = request.get("DataProcessing") or {}
        content_type = read_media_type(request["TransformInput"].get("ContentType"))
        split_type = request["TransformInput"].get("SplitType", "None")
        return cls(
            JsonPath.parse(asked.get("InputFilter") or "$"),
            JsonPath.parse(asked.get("OutputFilter") or "$"),
            asked.get("JoinSource") == "Input",
            content_type,
            split_type == "Line" or content_type == JSON_LINES,
        )

    @property
    def must_parse_answers(self) -> bool:
        """Whether the answers of the model must be parsed; if not, they are written unchanged."""
        return self.joins_input or not self.output_filter.is_whole

    @property
    def is_needed(self) -> bool:
        """Whether anything is filtered or joined."""
        return self.must_parse_answers or not self.input_filter.is_whole

    def make_payload(self, records: Sequence[bytes]) -> bytes:
        """Make one payload for the model from the given records.

        Raises:
            RecordFailure: A record is not valid in the content type, or does not fit the filter.
        """
        if self.input_filter.is_whole:
            return b"".join(records)
        end = b"\n" if self.splits_lines else b""
        return b"".join(
            self._write_value(self._select_by_path(self.input_filter, self._read_record(record)))
            + end
            for record in self._list_records(records)
        )

    def make_outputs(self, records: Sequence[bytes], answer: bytes) -> list[bytes]:
        """Return the output of each record of a payload.

        Raises:
            RecordFailure: The answer is not valid in the content type, does not fit the filter, or
                does not have one value for each record of the payload.
        """
        originals = self._list_records(records)
        values = self._read_answers(answer, len(originals))
        outputs = []
        for original, value in zip(originals, values, strict=True):
            joined = (
                self._join_record_with_answer(self._read_record(original), value)
                if self.joins_input
                else value
            )
            outputs.append(self._write_value(self._select_by_path(self.output_filter, joined)))
        return outputs

    def _list_records(self, records: Sequence[bytes]) -> list[bytes]:
        if not self.splits_lines:
            return list(records)
        lines = [line for record in records for line in record.split(b"\n")]
        return [line for line in lines if line.strip()]

    def _read_answers(self, answer: bytes, count: int) -> list[Any]:
        if count == 1 and self.content_type != CSV:
            return [self._read_value(answer, "the answer of the model")]
        lines = [line for line in answer.split(b"\n") if line.strip()]
        if len(lines) != count:
            raise RecordFailure(
                f"the model answered {count} records with {len(lines)} lines, so the answers "
                "can be neither joined with the records nor filtered",
                is_of_client=False,
            )
        return [self._read_value(line, "the answer of the model") for line in lines]

    def _read_record(self, record: bytes) -> Any:
        return self._read_value(record, "a record")

    def _read_value(self, data: bytes, what: str) -> Any:
        try:
            text = data.decode("utf-8-sig")
            if self.content_type == CSV:
                rows = list(csv.reader([text.strip("\r\n")], strict=True))
                return rows[0] if rows else []
            return parse_json(text)
        except (ValueError, csv.Error, RecursionError) as err:
            raise RecordFailure(f"{what} is not valid {self.content_type}: {err}") from err

    def _write_value(self, value: Any) -> bytes:
        if self.content_type != CSV:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        else:
            written = io.StringIO()
            row = value if isinstance(value, list) else [value]
            csv.writer(written, lineterminator="").writerow(row)
            text = written.getvalue()
        try:
            return text.encode()
        except UnicodeEncodeError as err:  # half a surrogate pair, which JSON can spell
            raise RecordFailure(f"a string cannot be written as UTF-8: {err}") from err

    def _join_record_with_answer(self, original: Any, value: Any) -> Any:
        if self.content_type == CSV:
            return [*original, *value]
        if isinstance(original, dict):
            return {**original, OUTPUT_KEY: value}
        return {INPUT_KEY: original, OUTPUT_KEY: value}

    @staticmethod
    def _select_by_path(path: JsonPath, value: Any) -> Any:
        try:
            return path.select_values(value)
        except JsonPathMismatch as err:
            raise RecordFailure(str(err)) from err
