"""Every AWS service but SageMaker, simulated by moto in this same process.

moto answers for S3, ECR, IAM, STS, CloudWatch, CloudWatch Logs and Application Auto Scaling.  Apart
from this module only ``registry.manifests`` reads moto's data, that of ECR.
"""

from __future__ import annotations

import threading
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.resource_store import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARTITION = "aws"


class SimulatedAws:
    """Answers for every service but SageMaker, and reads what they hold.

    Importing moto takes two seconds; :meth:`warm_up` does it when the service starts and not
    within the first request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dispatcher: Any = None
        self._s3: Any = None
        self._cloudwatch: Any = None

    def warm_up(self) -> None:
        """Import moto with its S3 and CloudWatch; the first call takes seconds, others nothing."""
        with self._lock:
            if self._dispatcher is not None:
                return
            from moto.cloudwatch.models import cloudwatch_backends
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                create_backend_app,
            )
            from moto.s3.models import s3_backends

            _fill_gaps_in_moto()
            self._s3 = s3_backends[ACCOUNT][PARTITION]
            self._cloudwatch = cloudwatch_backends[ACCOUNT]
            self._dispatcher = DomainDispatcherApplication(create_backend_app)

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Pass a request to the service that its signature names, and return its response."""
        self.warm_up()
        environ = _environ_of(request)
        application = self._dispatcher.get_application(environ)
        return _call_wsgi(application, environ)

    def read_object(self, uri: str) -> bytes:
        """Return the content of the object that an ``s3://bucket/key`` URI names.

        Raises:
            KeyError: There is no such object or bucket.
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
        """Return a role's policies as JSON documents; None where IAM has no such role."""
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
        """Write metric data to a region's CloudWatch."""
        self.warm_up()
        self._cloudwatch[region].put_metric_data(namespace, data)


@cache
def _fill_gaps_in_moto() -> None:
    """Patch moto 5.2 in two places where Terraform's configuration for SageMaker fails on it."""
    from moto.applicationautoscaling import models, responses
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    # Bucket policies are stored and returned, but not enforced: moto denies wherever a statement's
    # condition is not met, so that "deny unencrypted connections" would deny every connection.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL  # type: ignore[method-assign]

    # moto's list of what can be scaled lacks provisioned concurrency.
    known = {one.name: one.value for one in models.ScalableDimensionValueSet}
    known["SAGEMAKER_PROVISIONED"] = "sagemaker:variant:DesiredProvisionedConcurrency"
    for module in (models, responses):
        vars(module)["ScalableDimensionValueSet"] = Enum("ScalableDimensionValueSet", known)


def _environ_of(request: ServiceRequest) -> dict[str, Any]:
    """Describe a request as WSGI (PEP 3333) wants it."""
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
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body is no longer in chunks
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(request.length_bytes)
    return environ


def _call_wsgi(application: Any, environ: dict[str, Any]) -> ServiceResponse:
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(*status_and_headers: Any) -> Callable[[bytes], object]:
        started[:] = status_and_headers
        return written.append

    chunks: Iterable[bytes] = application(environ, start_response)
    try:
        body = b"".join([*written, *chunks])
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    # These describe moto's connection, not ours (RFC 9110, 7.6.1).
    hop_by_hop = {"connection", "transfer-encoding"}
    headers = [pair for pair in started[1] if pair[0].lower() not in hop_by_hop]
    return ServiceResponse(int(started[0].split(maxsplit=1)[0]), headers, body)
