"""Turns the Docker SDK's exceptions into this package's errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

UNAVAILABLE_REMEDY = (
    "Start Docker, or point DOCKER_HOST at a running engine; on a Debian machine without "
    'Docker: eval "$(scripts/start-engine.sh)"'
)


def engine_unavailable(where: str = "") -> EngineUnavailable:
    """Return the error to raise when no engine answers; it says how to fix that."""
    return EngineUnavailable("No container engine answers", where=where, remedy=UNAVAILABLE_REMEDY)


@contextmanager
def engine_errors(what: str, *, where: str = "") -> Iterator[None]:
    """Turn the SDK's exceptions in a block into an :class:`EngineError` that begins with ``what``.

    Raises:
        EngineUnavailable: The engine does not answer.
        EngineError: The engine refused.
    """
    import requests
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        yield
    except ImageNotFound as err:
        raise EngineError(
            f"{what}: there is no such image",
            where=where,
            remedy="Build it first: drdeploy image build ladder",
        ) from err
    except APIError as err:
        reason = str(err.explanation or err).strip()
        raise EngineError(f"{what}: {reason}", where=where) from err
    except requests.ConnectionError as err:
        raise engine_unavailable(where) from err
    except (DockerException, requests.RequestException) as err:
        raise EngineError(f"{what}: {err}", where=where) from err
