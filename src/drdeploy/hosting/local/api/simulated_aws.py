"""moto in this process: S3, ECR, IAM, STS, CloudWatch, logs, scaling.  The one seam to it."""

from __future__ import annotations

import threading
from enum import Enum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local.http_server import ServiceResponse
from drdeploy.hosting.local.resource_store import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.hosting.local.http_server import ServiceRequest

PARTITION = "aws"


class SimulatedAws:
    """Answers for every service but SageMaker.

    moto takes two seconds to import; :meth:`warm_up` does it beside the start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Import moto and its S3 and CloudWatch."""
        with self._lock:
            _fill_gaps_of_moto()
            _ = self._dispatcher, self._s3, self._cloudwatch

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Pass a request to the service that its signature names."""
        self.warm_up()
        environ = _environ_of(request)
        application = self._dispatcher.get_application(environ)
        return _call_wsgi(application, environ)

    def read_object(self, uri: str) -> bytes:
        """What an ``s3://bucket/key`` URI holds now.

        Raises:
            KeyError: Nothing is there.
        """
        self.warm_up()
        from moto.core.exceptions import ServiceException

        parts = urlsplit(uri)
        try:
            found = self._s3.get_object(parts.netloc, unquote(parts.path.lstrip("/")))
        except ServiceException as err:
            raise KeyError(uri) from err
        if found is None:
            raise KeyError(uri)
        return bytes(found.value)

    def policies_of_role(self, role_arn: str) -> list[str] | None:
        """The policies of a role as JSON; None where IAM does not know the role."""
        self.warm_up()
        from moto.iam.exceptions import NotFoundException
        from moto.iam.models import iam_backends

        iam = iam_backends[ACCOUNT][PARTITION]
        try:
            role = iam.get_role_by_arn(role_arn)
        except NotFoundException:
            return None
        attached: list[Any] = list(role.managed_policies.values())
        return [*role.policies.values(), *(policy.document for policy in attached)]

    def put_metric_data(self, region: str, namespace: str, data: list[dict[str, Any]]) -> None:
        """Write to a region's CloudWatch."""
        self.warm_up()
        self._cloudwatch[region].put_metric_data(namespace, data)

    @cached_property
    def _dispatcher(self) -> Any:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )

        return DomainDispatcherApplication(create_backend_app)

    @cached_property
    def _s3(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[ACCOUNT][PARTITION]

    @cached_property
    def _cloudwatch(self) -> Any:
        from moto.cloudwatch.models import cloudwatch_backends

        return cloudwatch_backends[ACCOUNT]


@cache
def _fill_gaps_of_moto() -> None:
    """Two things that Terraform needs and moto 5.2 has not."""
    from moto.applicationautoscaling import models, responses
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    # Bucket policies are kept and read back, not enforced: moto takes a condition that is not
    # met for a denial, so that "deny unencrypted connections" would deny every one.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL  # type: ignore[method-assign]

    known = {one.name: one.value for one in models.ScalableDimensionValueSet}
    known["SAGEMAKER_PROVISIONED"] = "sagemaker:variant:DesiredProvisionedConcurrency"
    for module in (models, responses):
        vars(module)["ScalableDimensionValueSet"] = Enum("ScalableDimensionValueSet", known)


def _environ_of(request: ServiceRequest) -> dict[str, Any]:
    """The request as WSGI (PEP 3333) describes it."""
    path, _, query = request.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": request.target,
        "RAW_URI": request.target,
        "SERVER_NAME": LOOPBACK,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": LOOPBACK,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": request.body,
        "wsgi.input_terminated": True,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body has been read whole
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(request.length_bytes)
    return environ


def _call_wsgi(application: Any, environ: dict[str, Any]) -> ServiceResponse:
    started: dict[str, Any] = {}

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        del exc_info
        started.update(status=int(status.split(maxsplit=1)[0]), headers=headers)
        return written.append

    written: list[bytes] = []
    chunks: Iterable[bytes] = application(environ, start_response)
    try:
        body = b"".join([*written, *chunks])
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    hop_by_hop = {"connection", "transfer-encoding"}
    headers = [pair for pair in started["headers"] if pair[0].lower() not in hop_by_hop]
    return ServiceResponse(started["status"], headers, body)
