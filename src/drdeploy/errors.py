"""All errors of this package, as one tree.

::

    DrdeployError
    ├── InvalidInput         a value of the command line, a TOML file or the environment
    │   └── UnknownPrice  StudyChanged
    ├── RequestRefused       a client's HTTP request
    │   ├── EmptyBody  MalformedRequest  UnknownPath  MethodNotAllowed  NotAcceptable
    │   ├── RequestTimeout  PayloadTooLarge  HeadersTooLarge
    │   ├── UnsupportedHttpFeature  UnsupportedHttpVersion
    │   └── UnsupportedImage  UnreadableImage
    ├── Overloaded
    ├── ProcessingTimeout
    ├── ServerError          the model server itself
    ├── ArtifactError        a model.tar.gz
    │   └── UnsafeArchive  TruncatedArchive  ManifestError  DigestMismatch
    ├── ModelError           a model and the library that runs it
    │   └── RuntimeUnavailable  ModelLoadFailed  PredictionFailed
    ├── EngineError          the container engine
    │   └── EngineMisconfigured  EngineUnavailable  ImageBuildFailed
    ├── EndpointError        an endpoint of SageMaker, or of the local service
    │   └── EndpointFailed  EndpointTimeout
    ├── DeploymentError      a request to Terraform, a registry or a bucket
    │   ├── TerraformUnavailable  TerraformFailed  PlanDeclined
    │   └── PushFailed  UploadFailed  LeftBehind
    ├── StudyError           a study and its measurements, before they are analysed
    ├── AnalysisError        measurements, when they are analysed
    ├── ClinicError          an archive or a record server of a clinic
    └── MissingExtra         an ImportError too

An error says *what* happened, *where*, and the *remedy*. The command line prints all three, and
exits with the status :attr:`DrdeployError.exit_status`. A client of the server gets the status
:attr:`DrdeployError.http_status`, the name of the error's class and one sentence. The traceback
goes to the log.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the signal's number, as in shells."""


def describe_extra_installation(extra: str) -> str:
    """Return a sentence that says how to install one or more extras of ``pyproject.toml``."""
    from pathlib import Path

    if Path(__file__).parent.parent.name == "src":  # a checkout
        return f"Run in the project's folder: pip install -e '.[{extra}]'"
    return f"Install the extra: pip install 'drdeploy[{extra}]'"


def one_line_error_message(err: Exception) -> str:
    """Return an exception's message on one line, or the class name if there is no message."""
    return " ".join(str(err).split()) or type(err).__name__


def format_count(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, for example ``1 file`` or ``2,500 files``.

    Args:
        count: The number.
        noun: The noun for one.
        plural: The noun for any other number; by default, ``noun`` with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def escape_control_characters(text: str, *, keep: str = "") -> str:
    r"""Return untrusted text in a form that a terminal or a log can safely show.

    Untrusted text may hold control characters. They can hide, move or colour what a terminal shows,
    or make it show text from right to left. This function replaces them by visible escapes such as
    ``\x1b``.

    Args:
        text: A string from anywhere.
        keep: Control characters to leave as they are, for example line feeds.
    """
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char in keep or category(char) == "Zs"
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


class DrdeployError(Exception):
    """Base class of all errors.

    A subclass that sets no HTTP status has the HTTP status of its parent class. The same holds for
    the exit status.

    Args:
        what: What happened, as one sentence without its full stop.
        where: The file, field, variable or resource in which the error happened.
        remedy: What the user can do about the error, as one sentence.

    Attributes:
        http_status: HTTP status of the answer to a client of the server.
        exit_status: Exit status of a command that ends with the error.
    """

    http_status: int = 500
    exit_status: int = 1

    def __init_subclass__(
        cls, *, http_status: int | None = None, exit_status: int | None = None
    ) -> None:
        super().__init_subclass__()
        cls.http_status = cls.http_status if http_status is None else http_status
        cls.exit_status = cls.exit_status if exit_status is None else exit_status

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        # All three may contain untrusted text, such as a file name or the output of a program.
        self.what = escape_control_characters(what, keep="\n").rstrip(".")
        self.where = escape_control_characters(where)
        self.remedy = escape_control_characters(remedy, keep="\n").rstrip(".")
        super().__init__(str(self))

    @property
    def code(self) -> str:
        """The name of the error's class. Programs can rely on it, because it does not change."""
        return type(self).__name__

    @property
    def sentence(self) -> str:
        """The error in one sentence for a client of the server, without a path or a traceback."""
        what, remedy = " ".join(self.what.split()), " ".join(self.remedy.split())
        return f"{what}; {_lowercase_first_letter(remedy)}." if remedy else f"{what}."

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}." if self.remedy else ""
        return f"{place}{self.what}.{advice}"


def _lowercase_first_letter(text: str) -> str:
    is_name = any(letter.isupper() for letter in text.partition(" ")[0][1:])  # as SageMaker is
    return text if is_name else text[:1].lower() + text[1:]


class InvalidInput(DrdeployError, http_status=400, exit_status=2):
    """A value that the user gave cannot be used."""


class StudyChanged(InvalidInput, http_status=409):
    """A user decided on a patient's study that had changed since the user opened it."""

    def __init__(self) -> None:
        super().__init__(
            "The study has changed since you opened it",
            where="the study",
            remedy="Look at the study again, then decide",
        )


class UnknownPrice(InvalidInput):
    """The table of prices has no price for an item in a region.

    Prices are never guessed.
    """


class RequestRefused(DrdeployError, http_status=400):
    """A client's HTTP request is refused because of what the client sent, or how slowly."""


class EmptyBody(RequestRefused):
    """The request has no body."""


class MalformedRequest(RequestRefused):
    """The body or a header of the request does not have the form that the server requires."""


class UnknownPath(RequestRefused, http_status=404):
    """The server has nothing at the requested path."""


class MethodNotAllowed(RequestRefused, http_status=405):
    """The path exists, but does not accept the request's method."""


class NotAcceptable(RequestRefused, http_status=406):
    """The server cannot answer in a content type that ``Accept`` allows."""


class RequestTimeout(RequestRefused, http_status=408):
    """The client took too long to send its request."""


class PayloadTooLarge(RequestRefused, http_status=413):
    """The request has too many bytes, pixels or images."""


class UnsupportedImage(RequestRefused, http_status=415):
    """The body is not a JPEG, PNG or TIFF, or is of a variant that is not graded.

    An example of such a variant is a file with several pictures.
    """


class UnreadableImage(RequestRefused, http_status=422):
    """The body looks like an image but cannot be decoded."""


class HeadersTooLarge(RequestRefused, http_status=431):
    """The request line and the headers together are longer than the server allows."""


class UnsupportedHttpFeature(RequestRefused, http_status=501):
    """The request has a method or a transfer coding that the server does not know."""


class UnsupportedHttpVersion(RequestRefused, http_status=505):
    """The request uses a later major version of HTTP than the server supports."""


class Overloaded(DrdeployError, http_status=503):
    """Every worker is busy and the queue is full."""


class ProcessingTimeout(DrdeployError, http_status=504):
    """The model did not answer within the server's time limit."""


class ServerError(DrdeployError):
    """The server cannot start, or one of its processes has ended unexpectedly."""


class ArtifactError(DrdeployError):
    """A ``model.tar.gz`` cannot be used."""


class UnsafeArchive(ArtifactError):
    """The archive has links or devices, has paths outside its folder, or is too large."""


class TruncatedArchive(ArtifactError):
    """The archive ends too early, or is not a gzip-compressed tar file."""


class ManifestError(ArtifactError):
    """``manifest.json`` lacks a field, has an unknown field, or contradicts the files."""


class DigestMismatch(ArtifactError):
    """A file's SHA-256 differs from the one in the manifest."""


class ModelError(DrdeployError):
    """A model cannot be loaded or cannot predict."""


class RuntimeUnavailable(ModelError):
    """The runtime that the model needs is not installed."""


class ModelLoadFailed(ModelError):
    """The runtime cannot load the model."""


class PredictionFailed(ModelError):
    """The model failed, or its output has the wrong shape, or holds NaN or infinity."""


class EngineError(DrdeployError):
    """The container engine refused a request or failed."""


class EngineMisconfigured(EngineError, exit_status=2):
    """The address, context or certificate of the user's container engine is unusable."""


class EngineUnavailable(EngineError):
    """No container engine answers."""


class ImageBuildFailed(EngineError):
    """A container image cannot be built from its Dockerfile."""


class EndpointError(DrdeployError):
    """An endpoint cannot be created, used or deleted."""


class EndpointFailed(EndpointError):
    """The endpoint's status is ``Failed``; the message gives the reason."""


class EndpointTimeout(EndpointError):
    """The endpoint did not reach the expected status in time."""


class DeploymentError(DrdeployError):
    """Infrastructure cannot be created, changed or deleted."""


class TerraformUnavailable(DeploymentError):
    """Terraform is not installed or too old, or its AWS provider cannot be installed."""


class TerraformFailed(DeploymentError):
    """Terraform ended with an error; the message says which resources exist now."""


class PlanDeclined(DeploymentError):
    """The user did not approve the plan or its cost."""


class PushFailed(DeploymentError):
    """A container registry refuses a container image."""


class UploadFailed(DeploymentError):
    """An S3 bucket refuses a model's archive."""


class LeftBehind(DeploymentError):
    """Some resources still exist after a deletion, and may cost money."""


class StudyError(DrdeployError):
    """A study that compares ways to host a model cannot be planned, run or resumed."""


class AnalysisError(DrdeployError):
    """The measurements do not allow the requested analysis."""


class ClinicError(DrdeployError):
    """A clinic's image archive or record server cannot be reached, or refuses the data."""


class MissingExtra(DrdeployError, ImportError):
    """A package of one of this project's extras is not installed.

    Attributes:
        extra: The extra that installs the package; empty if several extras are needed.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "", extra: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.extra = extra


PARTS_OF_EXTRAS = {"archive": ("cloud",), "study": ("cloud", "serve")}
"""The extras that another extra installs too."""


@contextmanager
def turn_import_error_into_missing_extra(extra: str, what: str) -> Iterator[None]:
    """Raise :class:`MissingExtra` if a package that the block imports is not installed.

    Usage: ``with turn_import_error_into_missing_extra("study", "The local service"): import moto``.

    If the block raises :class:`MissingExtra` itself, for an extra that is only a part of ``extra``,
    the new error names ``extra``. Otherwise, the user would install the part, and be refused again.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        # If a module of this package is missing, that is a bug, which no extra would repair.
        if err.name is None or err.name.partition(".")[0] == "drdeploy":
            raise
        raise _make_missing_extra_error(extra, what, err.name.partition(".")[0]) from err
    except MissingExtra as err:
        if err.name is None or err.extra not in PARTS_OF_EXTRAS.get(extra, ()):
            raise
        raise _make_missing_extra_error(extra, what, err.name) from err


def _make_missing_extra_error(extra: str, what: str, package: str) -> MissingExtra:
    error = MissingExtra(
        f"{what} needs the package {package}, which is not installed",
        remedy=describe_extra_installation(extra),
        extra=extra,
    )
    error.name = package
    return error
