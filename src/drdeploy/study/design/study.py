"""Read a study from its TOML file: what there is to measure, and in which combinations.

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

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drdeploy.errors import StudyError
from drdeploy.files import shipped
from drdeploy.grader.artifacts import ModelFormat, Precision
from drdeploy.hosting.sagemaker import DEFAULT_REGION, EndpointConfig
from drdeploy.study.design.scenarios import AnyScenario, Seconds, Slug

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

Profile = Literal["lean", "classic"]

STUDIES_FOLDER = "studies"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Table):
    """A model: one of the architectures, or an artifact of your own.

    Attributes:
        architecture: Name of a network, which is built and exported where its artifact is missing.
        artifact: A ``model.tar.gz``, relative to the study's file.
        weights: ``best`` takes trained ones (the grader in the box, or an archive of yours in
            ``build/artifacts``), else ImageNet's where ``study run --weights`` names a folder
            that has them, else random ones; the manifest and every row say which.
    """

    architecture: str | None = None
    artifact: Path | None = None
    weights: Literal["best", "random", "imagenet"] = "best"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.architecture is None) == (self.artifact is None):
            raise ValueError("name either an architecture or an artifact")
        return self


class ImageSpec(_Table):
    """A container image.

    Attributes:
        tag: Its tag in the container engine, or in the registry on AWS.
        profile: The server in it.  Without a container engine, a process of this profile runs
            in its place.
        model_format: Format of the artifacts that it takes; by default its profile's.
        environment: Environment variables of the container.
    """

    tag: str
    profile: Profile
    model_format: ModelFormat | None = None
    environment: dict[str, str] = {}

    @property
    def takes(self) -> ModelFormat:
        """The format of the artifacts that it takes."""
        return self.model_format or ("onnx" if self.profile == "lean" else "saved_model")


class Block(_Table):
    """Lists of models, images, endpoints and scenarios; every combination is a trial."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = ("fp32",)
    images: Annotated[tuple[str, ...], Field(min_length=1)]
    endpoints: Annotated[tuple[EndpointConfig, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[AnyScenario, ...], Field(min_length=1)]


class LocalSettings(_Table):
    """Settings of the local service that a study starts for itself.

    Attributes:
        idle_s: Time without requests after which a serverless endpoint scales to zero.
    """

    idle_s: Seconds = 300.0


class Study(_Table):
    """A study, as its TOML file defines it.

    Attributes:
        name: The name of the file, without ``.toml``.
        seed: Of arrival times, the order of photographs, and random weights.
        region: The AWS region whose prices the plan and the report use.
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
    def _names_are_defined(self) -> Self:
        for block in self.trials:
            _check_names("model", block.models, self.models)
            _check_names("image", block.images, self.images)
        return self

    @classmethod
    def load(cls, path_or_name: str | Path) -> Self:
        """Read a study.

        Args:
            path_or_name: A file, or the name of one in ``studies/``.

        Raises:
            StudyError: There is no such study, or a field of the file is wrong; the message names
                the field and its limit.
        """
        path = find_study(path_or_name)
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
            raise StudyError(f"The file is not TOML: {err}", where=str(path)) from err
        try:
            return cls.model_validate(_with_paths({"name": path.stem, **document}, path.parent))
        except ValidationError as err:
            raise StudyError(_sentences(err), where=str(path)) from err


def find_study(path_or_name: str | Path) -> Path:
    """Return the file of a study, given the file or a name.

    Names are looked up in ``studies/`` of the current folder first, then among those that ship.

    Raises:
        StudyError: There is no such study; the message lists those that exist.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    folders = [Path(STUDIES_FOLDER), shipped(STUDIES_FOLDER)]
    for folder in folders:
        named = folder / f"{path_or_name}.toml"
        if named.is_file():
            return named
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")})
    raise StudyError(
        f"There is no study {str(path_or_name)!r}",
        remedy=f"Name a TOML file or one of: {', '.join(known) or 'none here'}",
    )


def _with_paths(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the document with the artifacts' paths resolved against the study's folder."""
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


def _check_names(kind: str, names: Iterable[str], defined: dict[str, Any]) -> None:
    for name in names:
        if name not in defined:
            raise ValueError(f"{kind} {name!r} is not defined; there are {', '.join(defined)}")


def _sentences(error: ValidationError) -> str:
    """Return pydantic's errors as sentences: ``trials.0.endpoints.0.memory_mb: must be ...``."""
    details = error.errors()
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'study'}: "
        f"{_PLAIN.get(detail['type'], detail['msg'].removeprefix('Value error, '))}"
        for detail in details
        if not _is_consequence(detail, details)
    )


def _is_consequence(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether an error only follows from another one.

    pydantic calls a list too short when every item in it is wrong, and reports the items as well.
    """
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in details
    )
