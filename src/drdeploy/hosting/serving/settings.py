"""Every setting of the server: its variable, default, unit and meaning, in this one place.

A setting is a field of :class:`Settings`.  Its bounds and its description are part of the field's
type, and validation, ``drdeploy serve --help`` and the reference documentation read them there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.grader.runtimes.protocol import RuntimeName  # noqa: TC001 - msgspec reads annotations
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ProfileName = Literal["lean", "classic"]

MODEL_DIR = "/opt/ml/model"
CONTAINER_PORT = 8080
"""Where SageMaker puts a model, and the port it sends to unless a variable names another."""

ONLINE_PAYLOAD_MB = 6
"""InvokeEndpoint's limit for a real-time endpoint (a serverless one: 4 MB)."""
BATCH_PAYLOAD_MB = 20
"""For Batch Transform, which sends whole files from S3: a camera's uncompressed TIFF fits in."""

_VARIABLES = {
    "port": "SAGEMAKER_BIND_TO_PORT",
    "workers": "MODEL_SERVER_WORKERS",
    "timeout_s": "MODEL_SERVER_TIMEOUT",
    "is_batch": "SAGEMAKER_BATCH",
}


def _variable(field: str) -> str:
    return _VARIABLES.get(field, f"DRDEPLOY_{field.upper()}")


def _meta(meaning: str, unit: str = "", **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=meaning, extra={"unit": unit}, **bounds)


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename=_variable):
    """The server's settings; zero or an empty text leaves the choice to the server."""

    profile: Annotated[
        ProfileName,
        _meta(
            "`lean`: one asyncio process per worker. `classic`: NGINX, Gunicorn, Uvicorn, FastAPI."
        ),
    ] = "lean"
    runtime: Annotated[
        RuntimeName | Literal[""],
        _meta("The library that predicts; empty: the one that fits the model's format."),
    ] = ""
    model_dir: Annotated[str, _meta("Folder of the extracted model.tar.gz.", min_length=1)] = (
        MODEL_DIR
    )
    state_dir: Annotated[
        str,
        _meta("Writable folder for sockets and counters; empty: a fresh one under TMPDIR or /tmp."),
    ] = ""
    bind_host: Annotated[
        str, _meta("Address to listen on; the project's images listen on 0.0.0.0.", min_length=1)
    ] = "127.0.0.1"
    port: Annotated[int, _meta("Port to listen on.", ge=1, le=65535)] = CONTAINER_PORT
    workers: Annotated[
        int, _meta("Worker processes; 0: one (lean) or one per vCPU (classic).", ge=0, le=128)
    ] = 0
    threads: Annotated[
        int,
        _meta(
            "Threads of the runtime in each worker; 0: its share of the vCPUs (lean) or all of "
            "them (classic).",
            ge=0,
            le=256,
        ),
    ] = 0
    concurrency: Annotated[
        int,
        _meta("Requests handled at once in each worker; 0: its share of the vCPUs.", ge=0, le=256),
    ] = 0
    queue_length: Annotated[
        int,
        _meta("Requests that may wait in each worker; beyond it 503.", "requests", ge=0, le=4096),
    ] = 16
    timeout_s: Annotated[
        float, _meta("Longest wait for an answer once a request is read.", "s", gt=0, le=3600)
    ] = 60.0
    read_timeout_s: Annotated[
        float, _meta("Longest time a client may take to send its request.", "s", gt=0, le=600)
    ] = 15.0
    keep_alive_s: Annotated[
        float, _meta("How long an idle connection is kept.", "s", gt=0, le=3600)
    ] = 75.0
    drain_s: Annotated[
        float, _meta("How long requests in flight may go on after SIGTERM.", "s", ge=0, le=30)
    ] = 25.0
    max_payload_mb: Annotated[
        int,
        _meta(
            f"Largest request body; 0: {ONLINE_PAYLOAD_MB}, or {BATCH_PAYLOAD_MB} for batches.",
            "MiB",
            ge=0,
            le=100,
        ),
    ] = 0
    max_images: Annotated[int, _meta("Images in one request.", "images", ge=1, le=256)] = 16
    max_header_kb: Annotated[
        int, _meta("Largest request line and headers together.", "KiB", ge=4, le=64)
    ] = 16
    is_batch: Annotated[bool, _meta("SageMaker sets it to true for Batch Transform.")] = False
    container_id: Annotated[
        str,
        _meta("Name of this container in answers; empty: a random one.", pattern=r"^[\w.-]{0,64}$"),
    ] = ""
    log_level: Annotated[
        Literal["info", "warning", "error"], _meta("Least severe event that is logged.")
    ] = "info"

    @property
    def max_payload_bytes(self) -> int:
        """Largest request body in bytes."""
        default = BATCH_PAYLOAD_MB if self.is_batch else ONLINE_PAYLOAD_MB
        return (self.max_payload_mb or default) * MIB

    @property
    def max_header_bytes(self) -> int:
        """Largest request line and headers in bytes."""
        return self.max_header_kb * KIB


class SettingFacts(msgspec.Struct, frozen=True):
    """One setting as the help and the reference documentation list it."""

    variable: str
    default: str
    unit: str
    meaning: str


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.  An empty variable counts as unset.

    Raises:
        InvalidInput: A value is of the wrong type or out of bounds; the error names the variable.
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
        raise InvalidInput(
            f"{what}, but it is {given.get(variable, '')!r}",
            where=variable,
            remedy="See `drdeploy serve --help` for what each setting may be",
        ) from err


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variables from which another process reads the same settings."""
    values = msgspec.to_builtins(settings)
    return {name: str(value).lower() if value is True or value is False else str(value)
            for name, value in values.items()}  # fmt: skip


def describe_settings() -> Iterator[SettingFacts]:
    """Yield every setting, in the order of :class:`Settings`."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        meta = next(part for part in get_args(hints[field.name]) if isinstance(part, msgspec.Meta))
        default = field.default
        yield SettingFacts(
            variable=field.encode_name,
            default=str(default).lower() if isinstance(default, bool) else str(default),
            unit=(meta.extra or {})["unit"] or _values(get_args(hints[field.name])[0]),
            meaning=meta.description or "",
        )


def _values(kind: Any) -> str:
    """Return ``lean | classic`` for such a choice, and nothing for a number or a text."""
    if get_origin(kind) is Literal:
        return " | ".join(value for value in get_args(kind) if value)
    choices = (_values(part) for part in get_args(kind))
    return " | ".join(choice for choice in choices if choice)
