"""Simulate all AWS services except SageMaker, with moto in the same process.

moto answers for S3, ECR, IAM, CloudWatch and the other services in
``unserved_actions.SERVED_SERVICES``. Other modules of the local service read and write moto's data
through this module.
"""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import time
from enum import Enum
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.local.api import (
    cloudwatch,
    kms_key_states,
    log_groups,
    scaling,
    scaling_operations,
    served_operations,
    stored_objects,
)
from drdeploy.hosting.local.api.kms_key_states import DISABLED, INVALID_STATE, KmsKey
from drdeploy.hosting.local.api.policy_simulator import (
    SIMULATIONS,
    Principal,
    PrincipalPolicy,
    answer_iam_policy_simulation,
)
from drdeploy.hosting.local.endpoints.execution_role import RolePolicies
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri
from drdeploy.hosting.sagemaker.scalable_dimensions import COPIES, PROVISIONED_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from drdeploy.hosting.local.endpoints.instance_logs import LogStreamName
    from drdeploy.hosting.local.instances.instance import LogLine

PARTITION = "aws"
SUBSCRIBER_TIMEOUT_S = 5.0
"""Seconds that the web server of an SNS subscriber may take to accept a connection. The server may
take the same time again to answer the notification.
"""
KEY_MEMBERS = ("KeyId", "TargetKeyId", "SourceKeyId", "DestinationKeyId")
"""The members of KMS's operations that name a key."""
NOTHING = '{"Statement": []}'
"""An IAM policy that allows nothing."""


class SimulatedAws:
    """Answers requests to AWS services other than SageMaker, and gives access to their data.

    Importing moto takes two seconds, so :meth:`import_moto` is called when the service starts, and
    not by the first request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dispatcher: Any = None
        self._s3: Any = None
        self._cloudwatch: Any = None

    def import_moto(self) -> None:
        """Import moto, which takes seconds; if it has been imported already, do nothing."""
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
            cloudwatch.replace_operations_in_moto()
            log_groups.replace_log_operations_in_moto()
            served_operations.make_moto_refuse_unserved_operations()
            self._s3 = s3_backends[ACCOUNT][PARTITION]
            self._cloudwatch = cloudwatch_backends[ACCOUNT]
            self._dispatcher = DomainDispatcherApplication(create_backend_app)

    def answer_request(self, request: ServiceRequest) -> ServiceResponse:
        """Pass a request to the AWS service that its signature names, and return the response.

        Raises:
            NotImplementedError: moto does not have the operation.
        """
        self.import_moto()
        environ = _make_wsgi_environ(request)
        application = self._dispatcher.get_application(environ)
        return _call_wsgi_application(application, environ)

    def read_object(self, uri: str) -> bytes:
        """Return the content of the object that an ``s3://bucket/key`` URI names.

        Raises:
            KeyError: The object or the bucket does not exist.
        """
        found = self._find_s3_object(uri)
        if found is None:
            raise KeyError(uri)
        return bytes(found.value)

    def measure_object(self, uri: str) -> int:
        """Return the size in bytes of the object that an ``s3://bucket/key`` URI names.

        Raises:
            KeyError: The object or the bucket does not exist.
        """
        found = self._find_s3_object(uri)
        if found is None:
            raise KeyError(uri)
        return int(found.size)

    def has_object(self, uri: str) -> bool:
        """Return whether S3 has the object with the given URI (``s3://bucket/key``).

        If the URI ends with a slash, return whether S3 has at least one object below it.
        """
        if uri.endswith("/"):
            return bool(self._list_keys_below(uri))
        return self._find_s3_object(uri) is not None

    def read_files(self, uri: str) -> dict[str, bytes]:
        """Return the contents of the objects that a URI names, by their paths relative to the URI.

        A URI that ends with a slash names all objects below it. Any other URI names one object.

        Raises:
            KeyError: The URI names no object.
        """
        bucket, prefix = split_s3_uri(uri)
        if not uri.endswith("/"):
            return {prefix.rpartition("/")[2]: self.read_object(uri)}
        keys = self._list_keys_below(uri)
        if not keys:
            raise KeyError(uri)
        found = {key: self._find_object_of_bucket(bucket, key) for key in keys}
        return {
            key.removeprefix(prefix): bytes(one.value)
            for key, one in found.items()
            if one is not None
        }

    def _list_keys_below(self, uri: str) -> list[str]:
        with contextlib.suppress(KeyError):
            return self.list_keys(*split_s3_uri(uri))
        return []

    def _find_s3_object(self, uri: str) -> Any:
        return self._find_object_of_bucket(*split_s3_uri(uri))

    def _find_object_of_bucket(self, bucket: str, key: str) -> Any:
        self.import_moto()
        from moto.core.exceptions import ServiceException

        try:
            return self._s3.get_object(bucket, key)
        except ServiceException:
            return None

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys of a bucket that begin with a prefix, in the order of S3.

        Raises:
            KeyError: The bucket does not exist.
        """
        self.import_moto()
        from moto.s3.models import FakeDeleteMarker

        kept = self._s3.buckets[bucket].keys
        # The list copies references to moto's strings, not the strings. S3 orders keys by their
        # bytes.
        keys = (key for key in tuple(kept) if key.startswith(prefix))
        return sorted(
            (key for key in keys if not isinstance(kept.get(key), FakeDeleteMarker)),
            key=str.encode,
        )

    def read_chunks(self, bucket: str, key: str) -> Iterator[bytes]:
        """Yield the content of an object, without copying the whole object.

        Raises:
            KeyError: The object or the bucket does not exist.
        """
        found = self._find_object_of_bucket(bucket, key)
        if found is None:
            raise KeyError(key)
        yield from found.read_chunks()

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists."""
        self.import_moto()
        from moto.core.exceptions import ServiceException

        with contextlib.suppress(ServiceException):
            self._s3.delete_object(bucket, key)

    def has_bucket(self, bucket: str) -> bool:
        """Return whether S3 has a bucket with the given name."""
        self.import_moto()
        return bucket in self._s3.buckets

    def put_object(
        self,
        region: str,
        bucket: str,
        key: str,
        body: bytes,
        kms_key_id: str | None,
        *,
        content_type: str | None = None,
    ) -> None:
        """Write an object, encrypted with a KMS key or with the encryption of the bucket.

        Args:
            region: The region of the KMS key.
            bucket: The name of the bucket.
            key: The key of the object in the bucket.
            body: The content of the object.
            kms_key_id: The id or the ARN of the KMS key, or the name or the ARN of an alias; None
                means the bucket's encryption.
            content_type: The content type of the object; None leaves S3's default.

        Raises:
            OSError: There is no such bucket, or the key cannot be used.
        """
        self.import_moto()
        from moto.core.exceptions import ServiceException

        encryption = {}
        if kms_key_id is not None:
            problem = self.find_problem_with_key(region, kms_key_id)
            if problem:
                raise OSError(f"the KMS key {kms_key_id} {problem}")
            arn = self._find_kms_key(region, kms_key_id).arn
            encryption = {"encryption": "aws:kms", "kms_key_id": arn}
        try:
            made = self._s3.put_object(bucket, key, body, **encryption)
            if content_type is not None:
                made.set_metadata({"Content-Type": content_type})
        except ServiceException as err:
            raise OSError(f"S3 answers {err.code} ({err.message})") from err

    def has_topic(self, arn: str) -> bool:
        """Return whether SNS has a topic with this ARN."""
        return self._find_sns_topic(arn) is not None

    def publish_notification(self, topic: str, message: str) -> None:
        """Publish a message to a topic of SNS, which delivers it to the topic's subscribers.

        Raises:
            OSError: The topic does not exist, or a delivery fails.
        """
        found = self._find_sns_topic(topic)
        if found is None:
            raise OSError(f"the topic {topic} does not exist")
        try:
            found.publish(message)
        except Exception as err:  # whatever a subscriber's HTTP server or queue raises in moto
            raise OSError(f"the message cannot be delivered: {err}") from err

    def _find_sns_topic(self, arn: str) -> Any:
        """Return moto's topic with this ARN, or None."""
        self.import_moto()
        from moto.sns.models import sns_backends

        region = arn.split(":")[3]
        try:
            return sns_backends[ACCOUNT][region].topics.get(arn)
        except KeyError:  # moto knows AWS's regions only
            return None

    def find_problem_with_key(self, region: str, key_id: str) -> str:
        """Return the reason why a KMS key cannot encrypt, for example "does not exist in …".

        Return an empty text if the key can encrypt.

        Args:
            region: The region in which the key is looked up.
            key_id: The id or the ARN of the key, or the name or the ARN of an alias.
        """
        return self.find_problem_and_code_of_key(region, key_id)[0]

    def find_problem_and_code_of_key(self, region: str, key_id: str) -> tuple[str, str]:
        """Return the reason why a KMS key cannot encrypt, and KMS's error code.

        Both are empty if the key can encrypt.
        """
        self.import_moto()
        key = self._find_kms_key(region, key_id)
        if key is None:
            return f"does not exist in {region}", "NotFoundException"
        if key.key_state != "Enabled":
            code = DISABLED if key.key_state == "Disabled" else INVALID_STATE
            return f"cannot be used: its state is {key.key_state}", code
        if key.key_spec != "SYMMETRIC_DEFAULT":
            spec = f"it is not a symmetric key for encryption ({key.key_spec})"
            return f"cannot be used: {spec}", "InvalidKeyUsageException"
        return "", ""

    def list_used_keys(self, region: str, members: Mapping[str, Any]) -> list[KmsKey]:
        """Return the KMS keys that are needed to carry out a request.

        These are the keys that the request names, and the keys that encrypted the data in the
        request. Keys that do not exist are left out.
        """
        self.import_moto()
        from moto.kms.utils import KEY_ID_LEN

        named = [members.get(name) for name in KEY_MEMBERS]
        # moto writes the id of the key in front of the ciphertext. moto itself refuses a ciphertext
        # that is not base64.
        with contextlib.suppress(ValueError):
            ciphertext = base64.b64decode(str(members.get("CiphertextBlob") or ""))
            named.append(ciphertext[:KEY_ID_LEN].decode())
        found = [
            self._find_kms_key(region, name) for name in named if name and isinstance(name, str)
        ]
        return [KmsKey(key.arn, key.key_state) for key in found if key is not None]

    def _find_kms_key(self, region: str, key_id: str) -> Any:
        """Return moto's KMS key for an id, ARN, alias or alias ARN; None if there is none."""
        from moto.kms.models import kms_backends

        if key_id.startswith("arn:"):
            own = f"arn:{PARTITION}:kms:{region}:{ACCOUNT}:"
            if not key_id.startswith(own):
                return None
            key_id = key_id.removeprefix(own).removeprefix("key/")
        try:
            kms = kms_backends[ACCOUNT][region]
        except KeyError:
            return None
        if key_id.startswith("alias/"):
            key_id = kms.get_key_id_from_alias(key_id) or ""
        return kms.keys.get(key_id)

    def find_bounds_of_target(
        self, region: str, resource_id: str, dimension: str
    ) -> dict[str, Any] | None:
        """Return the bounds of a scalable target of Application Auto Scaling, or None."""
        self.import_moto()
        from moto.applicationautoscaling.models import applicationautoscaling_backends

        try:
            backend = applicationautoscaling_backends[ACCOUNT][region]
        except KeyError:
            return None
        found = backend.targets.get(dimension, {}).get(resource_id)
        if found is None:
            return None
        return {"MinCapacity": found.min_capacity, "MaxCapacity": found.max_capacity}

    def find_policies_of_role(self, role_arn: str) -> RolePolicies | None:
        """Return the policies of a role, or None if IAM does not have the role."""
        self.import_moto()
        principal = _find_policies_of_principal(role_arn)
        role = next(
            (one for one in _load_iam_backend().roles.values() if one.arn == role_arn), None
        )
        if principal is None or role is None:
            return None
        return RolePolicies(
            tuple(policy.document for policy in principal.policies),
            role.assume_role_policy_document,
            principal.boundary,
        )

    def find_state_of_alarm(self, region: str, name: str) -> str | None:
        """Return an alarm's state, for example ``OK`` or ``ALARM``, or None for a missing alarm."""
        self.import_moto()
        try:
            alarm = self._cloudwatch[region].alarms.get(name)
        except KeyError:  # moto knows only AWS's regions, but a request may name any region
            return None
        return None if alarm is None else str(alarm.state_value)

    def put_log_lines(self, name: LogStreamName, lines: Sequence[LogLine]) -> None:
        """Append lines to a log stream of CloudWatch Logs, which is created if it does not exist.

        Lines for an unknown region are dropped, because nobody could read them.
        """
        self.import_moto()
        with contextlib.suppress(KeyError):
            log_groups.put_log_lines(name, lines)

    def evaluate_due_alarms(self) -> None:
        """Evaluate every alarm, in any region, whose period has ended or that has new data."""
        if self._cloudwatch is None:
            return
        for backend in tuple(self._cloudwatch.values()):
            if backend.alarms:
                cloudwatch.find_alarm_book(backend).evaluate_due_alarms(time.time())

    def put_metric_data(self, region: str, namespace: str, data: list[dict[str, Any]]) -> None:
        """Write metric data to a region's CloudWatch; do nothing if AWS has no such region."""
        self.import_moto()
        try:
            store = cloudwatch.find_metric_store(self._cloudwatch[region])
        except KeyError:
            return
        store.put_metric_data(namespace, data, time.time())


@cache
def _fill_gaps_in_moto() -> None:
    """Patch moto 5.2, so that it no longer refuses some requests that AWS accepts."""
    import moto.iam.models
    from moto.applicationautoscaling import models, responses
    from moto.core.responses import ActionResult
    from moto.ecr.models import ECRBackend
    from moto.iam.access_control import PermissionResult
    from moto.iam.responses import IamResponse
    from moto.s3.models import FakeBucket

    # Bucket policies are stored and returned, but not enforced. moto denies a request if the
    # condition of a statement is not met, so a policy that denies unencrypted connections would
    # deny every connection.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL  # type: ignore[method-assign]

    # moto's list of what can be scaled lacks provisioned concurrency and copies.
    known = {one.name: one.value for one in models.ScalableDimensionValueSet}
    known["SAGEMAKER_PROVISIONED"] = PROVISIONED_CONCURRENCY
    known["SAGEMAKER_COPIES"] = COPIES
    for module in (models, responses):
        vars(module)["ScalableDimensionValueSet"] = Enum("ScalableDimensionValueSet", known)

    _limit_wait_for_subscribers()
    kms_key_states.replace_operations_in_moto()
    stored_objects.make_moto_store_objects_in_file()
    scaling.replace_operations_in_moto()
    scaling_operations.replace_operations_in_moto()

    # moto has AWS's managed policies, such as AmazonSageMakerFullAccess, but hides them.
    vars(moto.iam.models)["load_iam_aws_managed_policies"] = lambda: True

    # If a request sets no rules, moto would store None instead of an empty list, and no repository
    # could be created any more.
    put_configuration = ECRBackend.put_registry_scanning_configuration
    ECRBackend.put_registry_scanning_configuration = (  # type: ignore[method-assign]
        lambda self, scan_type, rules: put_configuration(self, scan_type, rules or [])
    )

    def make_policy_simulation(operation: str) -> Callable[[Any], Any]:
        return lambda response: ActionResult(
            answer_iam_policy_simulation(
                operation, dict(response.params), _find_policies_of_principal
            )
        )

    # moto finds the method of an action by the action's name.
    for operation in SIMULATIONS:
        method = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
        setattr(IamResponse, method, make_policy_simulation(operation))


def _limit_wait_for_subscribers() -> None:
    """Limit how long moto waits for the web server of an SNS subscriber.

    By itself, moto would wait forever.

    The subscriber's answer is not read, and redirects are not followed.
    """
    import moto.sns.models

    module = vars(moto.sns.models)
    post = partial(
        module["requests"].post, timeout=SUBSCRIBER_TIMEOUT_S, stream=True, allow_redirects=False
    )
    module["requests"] = SimpleNamespace(post=post)


def _find_policies_of_principal(arn: str) -> Principal | None:
    """Return the policies that apply to a user, group or role; None for an unknown ARN."""
    iam = _load_iam_backend()
    for kind, entities in (("role", iam.roles), ("user", iam.users), ("group", iam.groups)):
        for entity in entities.values():
            if entity.arn == arn:
                groups = iam.get_groups_for_user(entity.name) if kind == "user" else []
                members = [(kind, entity), *(("group", group) for group in groups)]
                policies = [
                    one for member in members for one in _list_policies_of_identity(*member)
                ]
                return Principal(tuple(policies), _find_permissions_boundary(entity))
    return None


def _list_policies_of_identity(kind: str, entity: Any) -> Iterator[PrincipalPolicy]:
    for name, document in entity.policies.items():
        yield PrincipalPolicy(name, kind, document)
    for policy in entity.managed_policies.values():
        is_of_aws = policy.arn.startswith(f"arn:{PARTITION}:iam::aws:")
        source = "aws-managed" if is_of_aws else "user-managed"
        yield PrincipalPolicy(policy.name, source, _read_policy_document(policy))


def _find_permissions_boundary(entity: Any) -> str | None:
    """Return the permissions boundary of a role or user as JSON, or None."""
    arn = getattr(entity, "permissions_boundary_arn", None)
    if not arn:
        return None
    bounding: Any = _load_iam_backend().managed_policies.get(arn)
    # The policy may be missing: unlike IAM, moto lets a client delete a boundary that is in use.
    return _read_policy_document(bounding) if bounding else NOTHING


def _load_iam_backend() -> Any:
    from moto.iam.models import iam_backends

    return iam_backends[ACCOUNT][PARTITION]


def _read_policy_document(policy: Any) -> str:
    """Return the default version of one of moto's managed policies, as JSON."""
    versions = {one.version_id: one.document for one in policy.versions}
    return str(versions[policy.default_version_id])


def _make_wsgi_environ(request: ServiceRequest) -> dict[str, Any]:
    """Return a request as a WSGI environment (PEP 3333)."""
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


def _call_wsgi_application(application: Any, environ: dict[str, Any]) -> ServiceResponse:
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
    # These headers describe moto's connection, not ours (RFC 9110, 7.6.1).
    hop_by_hop = {"connection", "transfer-encoding"}
    headers = [pair for pair in started[1] if pair[0].lower() not in hop_by_hop]
    return ServiceResponse(int(started[0].split(maxsplit=1)[0]), headers, body)
