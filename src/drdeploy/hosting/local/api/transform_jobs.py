"""Carry out the operations on transform jobs in one region: create, describe, list and stop."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local import request_constraints
from drdeploy.hosting.local.api.listing import filter_and_page_resources
from drdeploy.hosting.local.api_errors import (
    ApiError,
    make_not_served_error,
    make_validation_error,
)
from drdeploy.hosting.local.batch_transform.data_processing import CSV, FORMATS, read_media_type
from drdeploy.hosting.local.batch_transform.job import JobSource, TransformJob
from drdeploy.hosting.local.batch_transform.json_path import JsonPath, JsonPathRefused
from drdeploy.hosting.local.batch_transform.settings import (
    CONCURRENT_PAYLOADS_MB_MAX,
    CONCURRENT_TRANSFORMS_MAX,
)
from drdeploy.hosting.local.resource_store import ResourceStore
from drdeploy.hosting.local.served_members import refuse_unserved_members
from drdeploy.hosting.sagemaker.gpu_hosts import (
    TRANSFORM_AMIS,
    check_gpu_host,
    find_gpu_family,
)
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.files import Json
    from drdeploy.hosting.local.batch_transform.object_list import ObjectStorage
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.resource_store import AccountRegion, ResourceRecord


INSTANCES_MAX = 100
"""The largest number of instances that a job may have (API reference, ``TransformResources``)."""


class TransformJobs:
    """The transform jobs of one region.

    Args:
        account_region: The account and the region of the jobs.
        models: The models of the region.
        fleet: The fleet that runs the instances.
        storage: The objects of S3. If it is None, all jobs are refused.
    """

    def __init__(
        self,
        account_region: AccountRegion,
        models: ResourceStore[ResourceRecord],
        fleet: InstanceFleet,
        storage: ObjectStorage | None,
    ) -> None:
        self.store = ResourceStore[TransformJob]("transform job", "transform-job", account_region)
        self.operations: dict[str, Callable[[Json], Json]] = {
            "CreateTransformJob": self._create_job,
            "DescribeTransformJob": lambda request: self._find_job(request).describe(),
            "ListTransformJobs": self._list_jobs,
            "StopTransformJob": self._stop_job,
        }
        self._account_region = account_region
        self._models = models
        self._fleet = fleet
        self._storage = storage

    def stop_all_jobs(self) -> None:
        """Begin to stop the jobs in progress; called when the local service ends."""
        for job in self.store.list_resources():
            with contextlib.suppress(ApiError):  # the job is not in progress, or not any more
                job.stop(ends_instances=False)

    def _create_job(self, request: Json) -> Json:
        check_transform_request(request)
        refuse_unserved_members("CreateTransformJob", request)
        model = self._models.find_or_raise(request["ModelName"])
        resources = request["TransformResources"]
        try:
            self._fleet.compute_instance_size(resources["InstanceType"], None)
        except InvalidInput as err:
            raise make_not_served_error(
                f"TransformResources.InstanceType={resources['InstanceType']!r}. {err.remedy}"
            ) from err
        self._refuse_gpu_image(model.request, resources)
        self._fleet.refuse_unsupported_model(request.get("Environment") or {}, model.request)
        self._refuse_unusable_key(request["TransformOutput"].get("KmsKeyId"))
        if self._storage is None:
            raise make_not_served_error("CreateTransformJob without S3")
        tags = request.get("Tags") or []
        request_constraints.check_tags(tags)
        name = request["TransformJobName"]
        job = TransformJob(
            name,
            self.store.make_arn(name),
            _add_defaults(request),
            JobSource(self._account_region.region, model.request, self._storage),
            self._fleet,
        )
        job.tags |= {tag["Key"]: tag["Value"] for tag in tags}
        self._add_job(job)
        job.start()
        return {"TransformJobArn": job.arn}

    def _add_job(self, job: TransformJob) -> None:
        try:
            self.store.add_resource(job)
        except ApiError as err:
            raise ApiError(
                "ResourceInUse",
                "Job name must be unique within an AWS account and region, and a job with this "
                f"name already exists ({job.arn})",
            ) from err

    def _list_jobs(self, request: Json) -> Json:
        found, token = filter_and_page_resources(self.store.list_resources(), request)
        summaries = [job.summarize() for job in found]
        return {"TransformJobSummaries": summaries} | ({"NextToken": token} if token else {})

    def _stop_job(self, request: Json) -> Json:
        self._find_job(request).stop()
        return {}

    def _find_job(self, request: Json) -> TransformJob:
        name = request["TransformJobName"]
        try:
            return self.store.find_or_raise(name)
        except ApiError as err:
            raise make_validation_error(f"Could not find requested job with name: {name}") from err

    def _refuse_gpu_image(self, model: Json, resources: Json) -> None:
        """Refuse an image that needs a GPU or a driver that the instance type lacks on AWS.

        Instances on this machine get no GPU, so instance types with a GPU are refused too.
        """
        image = request_constraints.find_container_of_model(model)["Image"]
        instance_type = resources["InstanceType"]
        try:
            check_gpu_host(
                self._fleet.backend.find_image_variables(image),
                instance_type,
                resources.get("TransformAmiVersion"),
                amis=TRANSFORM_AMIS,
                ami_member="TransformAmiVersion",
            )
        except InvalidInput as err:
            raise make_validation_error(f"{err.what}. {err.remedy}.") from err
        if find_gpu_family(instance_type):
            raise make_not_served_error(
                f"TransformResources.InstanceType={instance_type!r}, because instances on this "
                "machine get no GPU"
            )

    def _refuse_unusable_key(self, key: str | None) -> None:
        problem = key and self._fleet.problem_with_key(self._account_region.region, key)
        if problem:
            raise make_validation_error(f"The KMS key {key} {problem}.")


def check_transform_request(request: Mapping[str, Any]) -> None:
    """Refuse a transform job whose members contradict each other.

    Raises:
        ApiError: Members contradict each other; the message names the members.
    """
    source, output = request["TransformInput"], request["TransformOutput"]
    uris = {
        "TransformInput.DataSource.S3DataSource.S3Uri": source["DataSource"]["S3DataSource"][
            "S3Uri"
        ],
        "TransformOutput.S3OutputPath": output["S3OutputPath"],
    }
    for name, uri in uris.items():
        if not request_constraints.is_encodable_as_utf8(uri):
            raise make_validation_error(f"{name} must be UTF-8 text.")
        if not uri.startswith(S3_SCHEME):
            raise make_not_served_error(f"{name}={uri!r}. Write it as s3://BUCKET/FOLDER")
    if request["TransformResources"]["InstanceCount"] > INSTANCES_MAX:
        raise make_validation_error(
            f"TransformResources.InstanceCount must not exceed {INSTANCES_MAX}."
        )
    payload_mb = request.get("MaxPayloadInMB") or 0
    concurrency = request.get("MaxConcurrentTransforms") or 1
    if concurrency > CONCURRENT_TRANSFORMS_MAX:
        raise make_validation_error(
            f"MaxConcurrentTransforms ({concurrency}) must not exceed {CONCURRENT_TRANSFORMS_MAX}."
        )
    if payload_mb * concurrency > CONCURRENT_PAYLOADS_MB_MAX:
        raise make_validation_error(
            f"MaxConcurrentTransforms ({concurrency}) * MaxPayloadInMB ({payload_mb}) must not "
            f"exceed {CONCURRENT_PAYLOADS_MB_MAX} MB."
        )
    for name, value in (request.get("Environment") or {}).items():
        if "\0" in value or not request_constraints.is_encodable_as_utf8(value):
            raise make_validation_error(
                f"Environment.{name} must be UTF-8 text without null characters."
            )
    _check_headers(request)
    _check_data_processing(request)


def _check_headers(request: Mapping[str, Any]) -> None:
    """Refuse a ``ContentType`` or ``Accept`` that is not valid as the value of a header."""
    headers = {
        "TransformInput.ContentType": request["TransformInput"].get("ContentType"),
        "TransformOutput.Accept": request["TransformOutput"].get("Accept"),
    }
    for name, value in headers.items():
        if value and not (value.isascii() and value.isprintable()):
            raise make_validation_error(
                f"{name} is sent as a header, so it must be printable ASCII text."
            )


def _check_data_processing(request: Mapping[str, Any]) -> None:
    asked = request.get("DataProcessing") or {}
    source, output = request["TransformInput"], request["TransformOutput"]
    paths = {}
    for name in ("InputFilter", "OutputFilter"):
        try:
            paths[name] = JsonPath.parse(asked.get(name) or "$")
        except JsonPathRefused as err:
            raise make_validation_error(f"DataProcessing.{name}: {err}.") from err
    is_needed = asked.get("JoinSource") == "Input" or not all(
        path.is_whole for path in paths.values()
    )
    if not is_needed:
        return
    formats = {
        "TransformInput.ContentType": read_media_type(source.get("ContentType")),
        "TransformOutput.Accept": read_media_type(output.get("Accept")),
    }
    for name, form in formats.items():
        if form not in FORMATS:
            raise make_validation_error(
                f"DataProcessing filters and joins text only: {name} must be one of "
                f"{', '.join(FORMATS)}, but it is {form or 'not set'}."
            )
    if len(set(formats.values())) > 1:
        raise make_validation_error(
            "With DataProcessing, TransformInput.ContentType and TransformOutput.Accept must be "
            "equal."
        )
    if read_media_type(source.get("ContentType")) == CSV:
        _check_csv_processing(request, paths)
    if source.get("SplitType") in {"RecordIO", "TFRecord"}:
        raise make_validation_error(
            "With DataProcessing, TransformInput.SplitType must be None or Line."
        )


def _check_csv_processing(request: Mapping[str, Any], paths: Mapping[str, JsonPath]) -> None:
    ends = {
        "TransformInput.SplitType": request["TransformInput"].get("SplitType"),
        "TransformOutput.AssembleWith": request["TransformOutput"].get("AssembleWith"),
    }
    for name, value in ends.items():
        if value != "Line":
            raise make_validation_error(f"With DataProcessing of {CSV}, {name} must be Line.")
    for name, path in paths.items():
        if path.has_names:
            raise make_validation_error(
                f"DataProcessing.{name}={path.text!r} names a member, but a row of {CSV} has only "
                "columns: use an index, for example $[0] or $[1:]."
            )


def _add_defaults(request: Json) -> Json:
    """Return a request as ``DescribeTransformJob`` shows it: with defaults, without tags."""
    described = {name: value for name, value in request.items() if name != "Tags"}
    none = "None"
    described["TransformInput"] = {
        "CompressionType": none,
        "SplitType": none,
        **request["TransformInput"],
    }
    described["TransformOutput"] = {"AssembleWith": none, **request["TransformOutput"]}
    described["DataProcessing"] = {
        "InputFilter": "$",
        "OutputFilter": "$",
        "JoinSource": none,
        **(request.get("DataProcessing") or {}),
    }
    return described
