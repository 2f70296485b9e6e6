"""Turn exceptions of the Docker SDK into errors that say what failed, and what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

UNAVAILABLE_REMEDY = (
    "Start Docker, or point DOCKER_HOST at a running engine. On a Debian machine without Docker, "
    'you can run `eval "$(scripts/start-engine.sh)"` as root in a clone of the project'
)


def make_engine_unavailable_error(where: str = "") -> EngineUnavailable:
    """Make the error for a container engine that does not answer."""
    return EngineUnavailable("No container engine answers", where=where, remedy=UNAVAILABLE_REMEDY)


@contextmanager
def translate_engine_errors(what: str, *, where: str = "") -> Iterator[None]:
    """Turn the SDK's exceptions into an :class:`EngineError` that begins with ``what``.

    Raises:
        EngineUnavailable: The engine does not answer.
        EngineError: The engine refused the call, or failed.
    """
    import requests
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        yield
    except ImageNotFound as err:
        raise EngineError(
            f"{what}: the image does not exist",
            where=where,
            remedy="Build the image with `drdeploy image build`, or pull it from its registry",
        ) from err
    except APIError as err:
        reason = str(err.explanation or err).strip()
        raise EngineError(f"{what}: the engine refused ({reason})", where=where) from err
    except requests.ConnectionError as err:
        raise make_engine_unavailable_error(where) from err
    except (DockerException, requests.RequestException) as err:
        raise EngineError(f"{what}: the engine failed ({err})", where=where) from err
