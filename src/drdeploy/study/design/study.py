"""Read a study from its TOML file, which lists the combinations to measure.

::

    title = "Two models, three memory sizes"
    seed = 2023

    [models.mobilenet]
    architecture = "MobileNet"

    [images.lean]
    tag = "drdeploy:lean"
    profile = "lean"

    [[trials]]                                    # every combination of these lists
    models = ["mobilenet"]
    images = ["lean"]
    endpoints = [{ kind = "serverless", memory_mb = 1024 }]
    scenarios = [{ kind = "warm", n = 25, interval_s = 5 }]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drdeploy.errors import StudyError, turn_import_error_into_missing_extra
from drdeploy.files import path_of_shipped_file, read_toml_file
from drdeploy.grader.artifacts import ModelFormat, Precision
from drdeploy.hosting.sagemaker import DEFAULT_REGION, AnyHostingConfig
from drdeploy.hosting.serving.settings import ProfileName
from drdeploy.study.design.scenarios import AnyScenario, Seconds, Slug

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails


STUDIES_FOLDER = "studies"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Table):
    """A model of a study: one of the known architectures, or an artifact of your own.

    Attributes:
        architecture: Name of a network, which is built and exported if its artifact is missing.
        artifact: Path of a ``model.tar.gz``, relative to the folder of the study's file.
        weights: ``random``, ``imagenet`` or ``best``. ``best`` uses trained weights if there are
            any: those of the packaged grader, or those of your own archive in ``build/artifacts``.
            If a network has no trained weights, ``best`` uses ImageNet weights from the folder that
            ``study run --weights`` names. If the folder has no weights for the network, ``best``
            uses random weights. The manifest and every row say which weights were used.
    """

    architecture: str | None = None
    artifact: Path | None = None
    weights: Literal["best", "random", "imagenet"] = "best"

    @model_validator(mode="after")
    def _require_architecture_or_artifact(self) -> Self:
        if (self.architecture is None) == (self.artifact is None):
            raise ValueError("give either 'architecture' or 'artifact'")
        if self.artifact is not None and "weights" in self.model_fields_set:
            raise ValueError(
                "'weights' would have no effect with 'artifact', which has weights of its own; "
                "remove 'weights'"
            )
        return self


class ImageSpec(_Table):
    """A container image.

    Attributes:
        tag: The tag of the container image in the container engine, or in the registry on AWS.
        profile: The profile of the server in the image. Without a container engine, a server
            process with this profile runs instead of a container.
        model_format: Format of the artifacts that the server loads; None means ``onnx`` for the
            profile ``lean`` and ``saved_model`` for the profile ``classic``.
        environment: Environment variables of the container.
    """

    tag: str
    profile: ProfileName
    model_format: ModelFormat | None = None
    environment: dict[str, str] = {}

    @property
    def accepted_model_format(self) -> ModelFormat:
        """The format of the artifacts that the server in the image loads."""
        return self.model_format or ("onnx" if self.profile == "lean" else "saved_model")


class Block(_Table):
    """Lists of models, container images, endpoints and scenarios; each combination is a trial.

    Attributes:
        endpoints: Configurations of endpoints. A configuration with ``kind = "batch"`` describes
            the instances of transform jobs instead.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = ("fp32",)
    images: Annotated[tuple[str, ...], Field(min_length=1)]
    endpoints: Annotated[tuple[AnyHostingConfig, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[AnyScenario, ...], Field(min_length=1)]


class LocalSettings(_Table):
    """Settings of the local service that a study starts for itself.

    Attributes:
        idle_s: Time without requests after which a serverless endpoint scales to zero.
    """

    idle_s: Seconds = 300.0


class Study(_Table):
    """A study as defined in its TOML file.

    Attributes:
        name: The name of the study's file, without ``.toml``.
        seed: Seed of arrival times, of the order of photographs, and of random weights.
        region: The AWS region in which ``study run --target aws`` creates the endpoints, and whose
            prices the plan uses.
        trials: Blocks of trials, which run in the order of the file.
    """

    name: Slug
    title: str
    seed: int = 0
    region: str = DEFAULT_REGION
    local: LocalSettings = LocalSettings()
    models: Annotated[dict[Slug, ModelSpec], Field(min_length=1)]
    images: Annotated[dict[Slug, ImageSpec], Field(min_length=1)]
    trials: Annotated[tuple[Block, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_names_are_defined(self) -> Self:
        for block in self.trials:
            _require_defined_names("model", block.models, self.models)
            _require_defined_names("image", block.images, self.images)
        for kind, used, defined in (
            ("model", {name for block in self.trials for name in block.models}, self.models),
            ("image", {name for block in self.trials for name in block.images}, self.images),
        ):
            unused = [name for name in defined if name not in used]
            if unused:
                raise ValueError(
                    f"no trial uses the {kind} {unused[0]!r}; add it to a block of trials, or "
                    "remove it"
                )
        return self

    @classmethod
    def load(cls, path_or_name: str | Path) -> Self:
        """Read a study.

        Args:
            path_or_name: The path of a TOML file, or the name of a study.  A name is looked up in
                the folder ``studies/``, then among the packaged studies.

        Raises:
            StudyError: The study does not exist, the file is not TOML, or a field of the file is
                wrong. The message names the field and its allowed values.
            MissingExtra: The extra ``study`` is not installed.
        """
        path = find_study_file(path_or_name)
        try:
            document = read_toml_file(path)
        except ValueError as err:
            raise StudyError(
                f"The file is not TOML: {err}", where=str(path), remedy="Correct the file"
            ) from err
        try:
            # A study's configurations are checked against the limits that botocore states.
            with turn_import_error_into_missing_extra("study", "A study"):
                return cls.model_validate(
                    _resolve_artifact_paths({"name": path.stem, **document}, path.parent)
                )
        except ValidationError as err:
            raise StudyError(_describe_validation_errors(err), where=str(path)) from err


def find_study_file(path_or_name: str | Path) -> Path:
    """Return the file of a study, given the file's path or the study's name.

    A name is looked up first in the folder ``studies/``, then among the packaged studies.

    Raises:
        StudyError: The study does not exist; the message lists the studies that exist.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    folders = [Path(STUDIES_FOLDER), path_of_shipped_file(STUDIES_FOLDER)]
    for folder in folders:
        named = folder / f"{path_or_name}.toml"
        if named.is_file():
            return named
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")})
    problem = "is a folder, not a TOML file" if path.is_dir() else "does not exist"
    raise StudyError(
        f"The study {str(path_or_name)!r} {problem}",
        remedy=f"Give a TOML file or one of: {', '.join(known) or 'none here'}",
    )


def _resolve_artifact_paths(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the document with each artifact's path resolved against the study's folder."""
    models = document.get("models")
    if not isinstance(models, dict):
        return document
    resolved = {
        name: spec | {"artifact": folder / spec["artifact"]}
        if isinstance(spec, dict) and isinstance(spec.get("artifact"), str)
        else spec
        for name, spec in models.items()
    }
    return document | {"models": resolved}


_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "too_short": "needs at least one",
}


def _require_defined_names(kind: str, names: Iterable[str], defined: dict[str, Any]) -> None:
    for name in names:
        if name not in defined:
            raise ValueError(
                f"{kind} {name!r} is not defined; the defined names are {', '.join(defined)}"
            )


def _describe_validation_errors(error: ValidationError) -> str:
    """Return pydantic's errors as text, with the field before each error.

    An example is ``trials.0.endpoints.0.memory_mb: must be ...``.
    """
    details = error.errors()
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'study'}: "
        f"{_PLAIN.get(detail['type'], detail['msg'].removeprefix('Value error, '))}"
        for detail in details
        if not _is_consequence_of_another_error(detail, details)
    )


def _is_consequence_of_another_error(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether an error is only a consequence of another error.

    If every item of a list is wrong, pydantic reports each item. It also reports that the list is
    too short, which is only a consequence.
    """
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in details
    )
