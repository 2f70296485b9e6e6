"""Every error that a user can meet, as one tree.

::

    DrdeployError
    ├── InvalidInput         a value of the command line, a TOML file or the environment
    │   └── UnknownPrice
    ├── RequestRefused       a client's HTTP request
    │   ├── EmptyBody  MalformedRequest  UnknownPath  MethodNotAllowed  NotAcceptable
    │   ├── RequestTimeout  PayloadTooLarge  HeadersTooLarge
    │   └── UnsupportedImage  UnreadableImage
    ├── Overloaded
    ├── ProcessingTimeout
    ├── ServerError          the model server itself
    ├── ArtifactError        a model.tar.gz
    │   └── UnsafeArchive  TruncatedArchive  ManifestError  DigestMismatch
    ├── ModelError           a model and the library that runs it
    │   └── RuntimeUnavailable  ModelLoadFailed  PredictionFailed
    ├── EngineError          the container engine
    │   └── EngineUnavailable  ImageBuildFailed
    ├── EndpointError        an endpoint of SageMaker, or of the local service
    │   └── EndpointFailed  EndpointTimeout
    ├── DeploymentError      what Terraform, a registry or a bucket is asked to do
    │   ├── TerraformUnavailable  TerraformFailed  PlanDeclined
    │   └── PushFailed  UploadFailed  LeftBehind
    ├── StudyError           a study and its measurements, before they are analysed
    ├── AnalysisError        measurements, when they are analysed
    └── MissingExtra         an ImportError too

An error says *what* happened, *where*, and the *remedy*.  The command line prints all three and
ends with :attr:`DrdeployError.exit_status`.  A client of the server gets
:attr:`DrdeployError.http_status`, the code and one sentence; the traceback goes to the log.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterator


def install_remedy(extra: str) -> str:
    """Return how to install an extra of ``pyproject.toml``, or several (``study,train``)."""
    from pathlib import Path

    if Path(__file__).parent.parent.name == "src":  # a checkout
        return f"In the project's folder: pip install -e '.[{extra}]'"
    return f"Install it: pip install 'drdeploy[{extra}]'"


def reason_of(err: Exception) -> str:
    """Return the message of a library's own error on one line, or else its class name."""
    return " ".join(str(err).split()) or type(err).__name__


def printable(text: str, *, keep: str = "") -> str:
    r"""Return foreign text so that a terminal or a log only shows it.

    A file's name or a server's answer may hold control characters, by which a terminal hides,
    moves or colours what it shows, and characters that turn the direction of writing.  They become
    visible escapes such as ``\x1b``.

    Args:
        text: From wherever.
        keep: Such characters to leave as they are, for example line feeds.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep or category(char) == "Zs" else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


class DrdeployError(Exception):
    """Base of the tree; a subclass has its parent's statuses unless it names its own.

    Args:
        what: What happened, as one sentence without its full stop.
        where: File, field, variable or resource that it happened in.
        remedy: What the user can do about it, as one sentence.

    Attributes:
        http_status: Of the answer to a client of the server.
        exit_status: Of the command that it ends.
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
        # All three may quote a stranger: a file's name, a field, what a program printed.
        self.what = printable(what, keep="\n").rstrip(".")
        self.where = printable(where)
        self.remedy = printable(remedy, keep="\n").rstrip(".")
        super().__init__(str(self))

    @property
    def code(self) -> str:
        """The class name: a stable identifier for programs."""
        return type(self).__name__

    @property
    def sentence(self) -> str:
        """One sentence for a client: no file or path of the server, no traceback."""
        what, remedy = " ".join(self.what.split()), " ".join(self.remedy.split())
        return f"{what}; {_lower_first(remedy)}." if remedy else f"{what}."

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}." if self.remedy else ""
        return f"{place}{self.what}.{advice}"


def _lower_first(text: str) -> str:
    is_acronym = len(text) > 1 and text[1].isupper()
    return text if is_acronym else text[:1].lower() + text[1:]


class InvalidInput(DrdeployError, http_status=400, exit_status=2):
    """A value that the user gave cannot be used."""


class UnknownPrice(InvalidInput):
    """The price sheet has no price for an item in a region; a price is never guessed."""


class RequestRefused(DrdeployError, http_status=400):
    """A client's HTTP request cannot be answered as it is."""


class EmptyBody(RequestRefused):
    """The request has no body."""


class MalformedRequest(RequestRefused):
    """The body or a header does not follow the contract."""


class UnknownPath(RequestRefused, http_status=404):
    """There is nothing at that path."""


class MethodNotAllowed(RequestRefused, http_status=405):
    """The path exists, but not for that method."""


class NotAcceptable(RequestRefused, http_status=406):
    """The answer does not exist in the form that ``Accept`` asks for."""


class RequestTimeout(RequestRefused, http_status=408):
    """The client took too long to send its request."""


class PayloadTooLarge(RequestRefused, http_status=413):
    """Too many bytes, pixels or images."""


class UnsupportedImage(RequestRefused, http_status=415):
    """The body is not a JPEG, PNG or TIFF."""


class UnreadableImage(RequestRefused, http_status=422):
    """The body says that it is an image but does not decode."""


class HeadersTooLarge(RequestRefused, http_status=431):
    """The request line and headers are longer than the server reads."""


class Overloaded(DrdeployError, http_status=503):
    """Every worker is busy and the queue is full."""


class ProcessingTimeout(DrdeployError, http_status=504):
    """The model did not answer within the server's time limit."""


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
    """The endpoint did not reach the status that was waited for in time."""


class DeploymentError(DrdeployError):
    """Infrastructure cannot be created, changed or deleted."""


class TerraformUnavailable(DeploymentError):
    """Terraform is not installed or too old, or its AWS provider cannot be installed."""


class TerraformFailed(DeploymentError):
    """Terraform ended with an error; the message says what there is now."""


class PlanDeclined(DeploymentError):
    """Nobody approved the plan, or its cost."""


class PushFailed(DeploymentError):
    """A registry refuses an image."""


class UploadFailed(DeploymentError):
    """A bucket refuses an archive."""


class LeftBehind(DeploymentError):
    """Something still exists, and may cost money, after everything was to be deleted."""


class StudyError(DrdeployError):
    """A study cannot be planned, run or resumed."""


class AnalysisError(DrdeployError):
    """The measurements cannot answer the question that is asked of them."""


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
