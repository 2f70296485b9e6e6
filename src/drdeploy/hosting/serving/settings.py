"""All settings of the server, each with its variable, default, unit and meaning.

Each setting is a field of :class:`Settings`. The type of the field holds the limits and the
description of the setting. The validation, ``drdeploy serve --help`` and the reference
documentation all use this type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.grader.runtimes.runtime import RuntimeName  # noqa: TC001 - msgspec reads annotations
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ProfileName = Literal["lean", "classic"]

MODEL_DIR = "/opt/ml/model"
CONTAINER_PORT = 8080
"""``MODEL_DIR`` is the folder in which SageMaker puts a model. ``CONTAINER_PORT`` is the port to
which SageMaker sends requests.

An environment variable can name another port for requests.
"""

ONLINE_PAYLOAD_MB = 6
"""The default limit of a request body, in MiB. InvokeEndpoint has this limit for real-time
endpoints. Its limit for serverless endpoints is 4 MiB.
"""
BATCH_PAYLOAD_MB = 20
"""The default limit of a request body for Batch Transform, in MiB. Batch Transform sends whole
files from S3, and an uncompressed TIFF of a fundus camera is smaller than this limit.
"""

MAX_WORKERS = 128

UNIX_PREFIX = "unix:"
"""An address that begins with this text names the path of a Unix socket."""

_VARIABLES = {
    "port": "SAGEMAKER_BIND_TO_PORT",
    "workers": "MODEL_SERVER_WORKERS",
    "timeout_s": "MODEL_SERVER_TIMEOUT",
    "is_batch": "SAGEMAKER_BATCH",
}


PREFIX = "DRDEPLOY_"
VARIABLES_OF_OTHER_PARTS = frozenset(
    {
        "DRDEPLOY_APT_WAIT_S",
        "DRDEPLOY_ARCHIVE_AUTHORIZATION",
        "DRDEPLOY_BASE_MIRROR",
        "DRDEPLOY_DATABASE",
        "DRDEPLOY_ENDPOINT_URL",
        "DRDEPLOY_ENGINE_DIR",
        "DRDEPLOY_LOCAL_HOME",
        "DRDEPLOY_NAMES_KEY",
        "DRDEPLOY_PAGE_PICTURES",
        "DRDEPLOY_WEIGHTS",
    }
)
"""The variables that other commands and the scripts of the repository read.

All variables that begin with ``PREFIX`` are either settings of the server or listed here, so that a
misspelt variable can be refused.
"""


def _find_name_of_variable(field: str) -> str:
    return _VARIABLES.get(field, f"{PREFIX}{field.upper()}")


def _describe_setting_field(meaning: str, unit: str = "", **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=meaning, extra={"unit": unit}, **bounds)


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename=_find_name_of_variable):
    """The settings of the server; for many settings, 0 or an empty text lets the server choose."""

    profile: Annotated[
        ProfileName,
        _describe_setting_field(
            "`lean`: one asyncio process per worker. `classic`: NGINX, Gunicorn, Uvicorn, FastAPI."
        ),
    ] = "lean"
    runtime: Annotated[
        RuntimeName | Literal[""],
        _describe_setting_field(
            "The library that runs the model; if unset, the library that fits the model's format."
        ),
    ] = ""
    model_dir: Annotated[
        str, _describe_setting_field("Folder of the extracted model.tar.gz.", min_length=1)
    ] = MODEL_DIR
    state_dir: Annotated[
        str,
        _describe_setting_field(
            "Writable folder for sockets and counters; if unset, a new folder under TMPDIR or /tmp."
        ),
    ] = ""
    bind_host: Annotated[
        str,
        _describe_setting_field(
            "Address to listen on, or `unix:PATH` for a Unix socket. The project's container "
            "images set 0.0.0.0.",
            min_length=1,
        ),
    ] = "127.0.0.1"
    port: Annotated[int, _describe_setting_field("Port to listen on.", ge=1, le=65535)] = (
        CONTAINER_PORT
    )
    workers: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MAX_WORKERS)] | Literal["auto"],
        _describe_setting_field(
            "Number of worker processes. `auto` means one on a GPU; elsewhere it means one per "
            "whole vCPU, as far as the memory allows.",
            f"auto, or 1 to {MAX_WORKERS}",
        ),
    ] = "auto"
    threads: Annotated[
        int,
        _describe_setting_field(
            "Number of threads for one prediction. 0 means all vCPUs (classic), or the worker's "
            "share of the vCPUs (lean). With 0, on two vCPUs or more, a lean worker on ONNX "
            "Runtime divides its share among its requests. If the memory allows, it also uses idle "
            "vCPUs while the container grades only one photograph.",
            ge=0,
            le=256,
        ),
    ] = 0
    concurrency: Annotated[
        int,
        _describe_setting_field(
            "Number of requests that each worker handles at once. 0 means one for each vCPU of the "
            "worker's share, but at least 8 on a GPU. On two vCPUs or more without a GPU, 0 means "
            "fewer if the memory is too small.",
            ge=0,
            le=256,
        ),
    ] = 0
    batch_wait_ms: Annotated[
        float,
        _describe_setting_field(
            "Longest time that a photograph waits for other photographs, to be predicted with "
            "them in a batch. 0 means 2 ms on a GPU, and no batches elsewhere. A batch has at "
            "most as many photographs as the worker handles requests at once.",
            "ms",
            ge=0,
            le=1000,
        ),
    ] = 0
    queue_length: Annotated[
        int,
        _describe_setting_field(
            "Number of requests that may wait in each worker; further requests are answered "
            "with 503.",
            "requests",
            ge=0,
            le=4096,
        ),
    ] = 16
    timeout_s: Annotated[
        float,
        _describe_setting_field(
            "Longest time from reading a request to its answer.", "s", gt=0, le=3600
        ),
    ] = 60.0
    read_timeout_s: Annotated[
        float,
        _describe_setting_field(
            "Longest time a client may take to send its request.", "s", gt=0, le=600
        ),
    ] = 15.0
    keep_alive_s: Annotated[
        float,
        _describe_setting_field("How long an idle connection is kept open.", "s", gt=0, le=3600),
    ] = 75.0
    drain_s: Annotated[
        float,
        _describe_setting_field(
            "How long requests in progress may continue after SIGTERM.", "s", ge=0, le=30
        ),
    ] = 25.0
    max_payload_mb: Annotated[
        int,
        _describe_setting_field(
            f"Largest request body; 0 means {ONLINE_PAYLOAD_MB} MiB, or {BATCH_PAYLOAD_MB} MiB "
            "for Batch Transform.",
            "MiB",
            ge=0,
            le=100,
        ),
    ] = 0
    max_images: Annotated[
        int,
        _describe_setting_field("Largest number of images in one request.", "images", ge=1, le=256),
    ] = 16
    max_header_kb: Annotated[
        int,
        _describe_setting_field(
            "Largest size of the request line and headers together.", "KiB", ge=4, le=64
        ),
    ] = 16
    is_batch: Annotated[
        bool,
        _describe_setting_field(
            "Whether the server runs in a Batch Transform job; SageMaker then sets the "
            "variable to true."
        ),
    ] = False
    container_id: Annotated[
        str,
        _describe_setting_field(
            "Name of this container in answers; if unset, a random name.", pattern=r"^[\w.-]{0,64}$"
        ),
    ] = ""
    log_level: Annotated[
        Literal["info", "warning", "error"],
        _describe_setting_field("Lowest severity of events that are logged."),
    ] = "info"

    @property
    def max_payload_bytes(self) -> int:
        """The largest request body in bytes."""
        default = BATCH_PAYLOAD_MB if self.is_batch else ONLINE_PAYLOAD_MB
        return (self.max_payload_mb or default) * MIB

    @property
    def max_header_bytes(self) -> int:
        """The largest size of the request line and headers together, in bytes."""
        return self.max_header_kb * KIB


class SettingFacts(msgspec.Struct, frozen=True):
    """The facts about one setting, for the help and the reference documentation."""

    variable: str
    default: str
    unit: str
    meaning: str


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.  An empty variable counts as unset.

    Raises:
        InvalidInput: A value has the wrong type or exceeds a limit; the error names the variable.
    """
    given = {
        field.encode_name: environ[field.encode_name]
        for field in msgspec.structs.fields(Settings)
        if environ.get(field.encode_name)
    }
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as err:
        what, _, path = str(err).partition(" - at `$.")
        variable = path.rstrip("`")
        if variable == _VARIABLES["workers"]:  # msgspec names only one of the two forms
            what = f"Expected `auto`, or a whole number from 1 to {MAX_WORKERS}"
        raise InvalidInput(
            f"{what}; the value is {given.get(variable, '')!r}",
            where=variable,
            remedy="Read `drdeploy serve --help`, which lists the allowed values of each setting",
        ) from err


def refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """Refuse environment variables that begin with ``DRDEPLOY_`` but that nothing reads.

    Such a variable is nearly always misspelt, and would have no effect. An empty variable counts as
    unset. The variables that Kubernetes sets for a service whose name begins with ``drdeploy`` are
    accepted.

    Raises:
        InvalidInput: There is such a variable; the error suggests the variable with the most
            similar name.
    """
    settings = {field.encode_name for field in msgspec.structs.fields(Settings)}
    known = settings | VARIABLES_OF_OTHER_PARTS
    for name in sorted(environ):
        is_unknown = name.startswith(PREFIX) and name not in known and environ[name]
        if is_unknown and not _is_set_by_kubernetes(name, environ[name]):
            from difflib import get_close_matches

            meant = {one.removeprefix(PREFIX): one for one in known}
            meant |= {field.upper(): variable for field, variable in _VARIABLES.items()}
            similar = get_close_matches(name.removeprefix(PREFIX), sorted(meant), 1)
            raise InvalidInput(
                f"drdeploy has no environment variable {name}",
                where=name,
                remedy=f"Unset it, or rename it to {meant[similar[0]]}" if similar else "Unset it",
            )


def _is_set_by_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes may have set a variable, for example ``DRDEPLOY_SERVICE_HOST``.

    Kubernetes tells each container the address of each service in such variables, which begin with
    the service's name.
    """
    is_address = name.endswith("_PORT") and "://" in value  # DRDEPLOY_PORT=tcp://10.0.0.1:8080
    return is_address or any(part in name for part in ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"))


def make_environment_variables(settings: Settings) -> dict[str, str]:
    """Return environment variables that pass the settings on to another process."""
    values = msgspec.to_builtins(settings)
    return {name: str(value).lower() if value is True or value is False else str(value)
            for name, value in values.items()}  # fmt: skip


def list_setting_facts() -> Iterator[SettingFacts]:
    """Yield every setting, in the order of :class:`Settings`."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        meta = next(part for part in get_args(hints[field.name]) if isinstance(part, msgspec.Meta))
        default = field.default
        yield SettingFacts(
            variable=field.encode_name,
            default=str(default).lower() if isinstance(default, bool) else str(default),
            unit=(meta.extra or {})["unit"]
            or _describe_choices_of_setting(get_args(hints[field.name])[0]),
            meaning=meta.description or "",
        )


def _describe_choices_of_setting(kind: Any) -> str:
    """Return the choices of a setting, for example ``lean | classic``; empty if it has none."""
    if get_origin(kind) is Literal:
        return " | ".join(value for value in get_args(kind) if value)
    choices = (_describe_choices_of_setting(part) for part in get_args(kind))
    return " | ".join(choice for choice in choices if choice)
