"""Every error a user can meet, in one tree.

::

    DrdeployError
    ├── InvalidInput             a value the user gave: command line, TOML, environment
    │   └── UnknownPrice         no price is known for that item, region and date
    ├── RequestRefused           a client's HTTP request (4xx)
    │   ├── EmptyBody            400
    │   ├── MalformedRequest     400
    │   ├── UnknownPath          404
    │   ├── MethodNotAllowed     405
    │   ├── NotAcceptable        406
    │   ├── RequestTimeout       408
    │   ├── PayloadTooLarge      413
    │   ├── UnsupportedImage     415
    │   ├── UnreadableImage      422
    │   └── HeadersTooLarge      431
    ├── Overloaded               503, the bounded queue is full
    ├── ProcessingTimeout        504, no answer in time
    ├── ServerError              the server cannot start, or one of its processes ended
    ├── ArtifactError            a model.tar.gz
    │   ├── UnsafeArchive        it would write outside its folder, or is too large
    │   ├── TruncatedArchive     it ends too early or is no gzip tar at all
    │   ├── ManifestError        manifest.json does not say what it must
    │   └── DigestMismatch       a file is not the one the manifest names
    ├── ModelError
    │   ├── RuntimeUnavailable   the runtime is not installed here
    │   ├── ModelLoadFailed      the runtime refuses the model
    │   └── PredictionFailed     the model answers with the wrong shape, or not at all
    ├── EngineError              the container engine
    │   ├── EngineUnavailable    none answers
    │   └── ImageBuildFailed     a Dockerfile does not build
    ├── EndpointError            hosting
    │   ├── EndpointFailed       the endpoint reports Failed, with its reason
    │   └── EndpointTimeout      it did not get InService in time
    ├── DeploymentError          infrastructure: what is created by Terraform
    │   ├── TerraformUnavailable it is not installed or too old, or lacks its provider
    │   ├── TerraformFailed      init, plan or apply ended with an error; says what there is now
    │   ├── PlanDeclined         nobody agreed to what was planned, or to its cost
    │   ├── PushFailed           the registry does not take an image
    │   ├── UploadFailed         the bucket does not take an archive
    │   └── LeftBehind           something is still there after a deletion
    ├── StudyError               a study that cannot be planned, resumed or run
    ├── AnalysisError            measurements that do not support the question
    └── MissingExtra             an ImportError too: an optional package is not installed

An error says *what* happened, *where*, and the *remedy*.  A client of the server sees a code
and one sentence (:attr:`DrdeployError.sentence`); the traceback goes to the log.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def install_remedy(extra: str) -> str:
    """How to install what an extra of ``pyproject.toml`` holds; the project comes as a clone."""
    return f"In the project's folder: pip install -e '.[{extra}]'"


def reason_of(err: Exception) -> str:
    """What a library says of its own error, on one line."""
    return " ".join(str(err).split()) or type(err).__name__


class DrdeployError(Exception):
    """Base of the tree.

    Args:
        what: What happened, as one sentence without its full stop.
        where: File, field, variable or resource that it happened in.
        remedy: What the user can do about it, as one sentence.
    """

    http_status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    exit_status: int = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what.rstrip(".")
        self.where = where
        self.remedy = remedy.rstrip(".")
        super().__init__(str(self))

    @property
    def code(self) -> str:
        """The class name: a stable identifier for programs."""
        return type(self).__name__

    @property
    def sentence(self) -> str:
        """One sentence for a client; never carries a path or a traceback."""
        return f"{self.what}." if not self.remedy else f"{self.what}; {_lower_first(self.remedy)}."

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}." if self.remedy else ""
        return f"{place}{self.what}.{advice}"


def _lower_first(text: str) -> str:
    is_acronym = len(text) > 1 and text[1].isupper()
    return text if is_acronym else text[:1].lower() + text[1:]


class InvalidInput(DrdeployError):
    """A value that the user gave cannot be used."""

    http_status = HTTPStatus.BAD_REQUEST
    exit_status = 2


class UnknownPrice(InvalidInput):
    """No price is known for the item in that region; a price is never guessed."""


class RequestRefused(DrdeployError):
    """A client's HTTP request cannot be answered as it is."""

    http_status = HTTPStatus.BAD_REQUEST


class EmptyBody(RequestRefused):
    """The request has no body."""


class MalformedRequest(RequestRefused):
    """The body or a header does not follow the contract."""


class UnknownPath(RequestRefused):
    """There is nothing at that path."""

    http_status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(RequestRefused):
    """The path exists, but not for that method."""

    http_status = HTTPStatus.METHOD_NOT_ALLOWED


class NotAcceptable(RequestRefused):
    """The answer does not exist in the form that ``Accept`` asks for."""

    http_status = HTTPStatus.NOT_ACCEPTABLE


class RequestTimeout(RequestRefused):
    """The client took too long to send its request."""

    http_status = HTTPStatus.REQUEST_TIMEOUT


class PayloadTooLarge(RequestRefused):
    """Too many bytes, pixels or images."""

    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedImage(RequestRefused):
    """The body is no JPEG, PNG or TIFF."""

    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UnreadableImage(RequestRefused):
    """The body says that it is an image but does not decode."""

    http_status = HTTPStatus.UNPROCESSABLE_ENTITY


class HeadersTooLarge(RequestRefused):
    """The request line and headers are longer than the server reads."""

    http_status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class Overloaded(DrdeployError):
    """Every worker is busy and the queue is full."""

    http_status = HTTPStatus.SERVICE_UNAVAILABLE


class ProcessingTimeout(DrdeployError):
    """The model did not answer within the server's time limit."""

    http_status = HTTPStatus.GATEWAY_TIMEOUT


class ServerError(DrdeployError):
    """The server cannot start, or a process that it needs ended."""


class ArtifactError(DrdeployError):
    """A ``model.tar.gz`` cannot be used."""


class UnsafeArchive(ArtifactError):
    """The archive would write outside its folder, holds links or devices, or is too large."""


class TruncatedArchive(ArtifactError):
    """The archive ends too early, or is not a gzip-compressed tar file."""


class ManifestError(ArtifactError):
    """``manifest.json`` is missing a field, has an unknown one, or contradicts the files."""


class DigestMismatch(ArtifactError):
    """A file's SHA-256 is not the one that the manifest names."""


class ModelError(DrdeployError):
    """A model cannot be loaded or does not predict."""


class RuntimeUnavailable(ModelError):
    """The runtime that the model needs is not installed."""


class ModelLoadFailed(ModelError):
    """The runtime refuses the model."""


class PredictionFailed(ModelError):
    """The model answered with the wrong shape, with no number, or not at all."""


class EngineError(DrdeployError):
    """The container engine refused or failed."""


class EngineUnavailable(EngineError):
    """No container engine answers."""


class ImageBuildFailed(EngineError):
    """A Dockerfile does not build."""


class EndpointError(DrdeployError):
    """An endpoint cannot be created, used or deleted."""


class EndpointFailed(EndpointError):
    """The endpoint reports ``Failed``; the message carries its reason."""


class EndpointTimeout(EndpointError):
    """The endpoint did not reach the wanted status in time."""


class DeploymentError(DrdeployError):
    """Infrastructure cannot be created, changed or deleted."""


class TerraformUnavailable(DeploymentError):
    """Terraform is not installed or too old, or its AWS provider cannot be installed."""


class TerraformFailed(DeploymentError):
    """Terraform ended with an error; the message says what there is now."""


class PlanDeclined(DeploymentError):
    """Nobody agreed to the plan, or to what it costs."""


class PushFailed(DeploymentError):
    """The registry does not take an image."""


class UploadFailed(DeploymentError):
    """The bucket does not take an archive."""


class LeftBehind(DeploymentError):
    """Something is still there, and may cost money, after everything was deleted."""


class StudyError(DrdeployError):
    """A study cannot be planned, run or resumed."""


class AnalysisError(DrdeployError):
    """The measurements do not support the question."""


class MissingExtra(DrdeployError, ImportError):
    """Something needs a package that one of this project's extras brings."""


@contextmanager
def requires_extra(extra: str, what: str) -> Iterator[None]:
    """Turn the import of a package that is not installed into :class:`MissingExtra`.

    Usage: ``with requires_extra("study", "The local service"): import moto``.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        # A module of our own that is missing is a bug, and no extra brings it.
        if err.name is None or err.name.partition(".")[0] == "drdeploy":
            raise
        raise MissingExtra(
            f"{what} needs the package {err.name.partition('.')[0]}, which is not installed",
            remedy=install_remedy(extra),
        ) from err
