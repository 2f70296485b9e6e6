"""Simulate IAM policies, as IAM's policy simulator does.

moto lacks the four actions of the policy simulator. Version 3 of the SageMaker Python SDK asks
``SimulatePrincipalPolicy`` whether an execution role has the permissions for hosting. This module
adds these actions. They evaluate policies with ``endpoints.iam_policies``, which also checks the
execution roles of endpoints. A simulation therefore predicts whether an endpoint may be created
with the role. Source: IAM API reference, ``SimulatePrincipalPolicy``, ``SimulateCustomPolicy`` and
``EvaluationResult``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.files import Json, parse_json
from drdeploy.hosting.local.api.listing import cut_page_of_list
from drdeploy.hosting.local.api.request_validation import find_violations, load_service_model
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.endpoints.iam_policies import decide_action, list_condition_keys
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.local.served_members import refuse_unserved_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


SIMULATIONS = (
    "GetContextKeysForCustomPolicy",
    "GetContextKeysForPrincipalPolicy",
    "SimulateCustomPolicy",
    "SimulatePrincipalPolicy",
)
ACTION = re.compile(r"[\w-]+:\w+")
PATTERN_ELEMENTS = ("Action", "NotAction", "Resource", "NotResource")
"""The elements of a statement whose values are patterns."""
PAGE_SIZE = 100
"""The number of results on a page if the request states no ``MaxItems`` (API reference)."""


@dataclass(frozen=True)
class PrincipalPolicy:
    """A policy that applies to a principal.

    Attributes:
        name: The name of the policy.
        kind: Where the policy comes from, as ``PolicySourceType`` spells it.
        document: The policy as JSON.
    """

    name: str
    kind: str
    document: str


@dataclass(frozen=True)
class Principal:
    """A user, group or role.

    Attributes:
        policies: All policies that apply to the principal.
        boundary: The permissions boundary as JSON, or None if the principal has none.
    """

    policies: tuple[PrincipalPolicy, ...]
    boundary: str | None = None


def answer_iam_policy_simulation(
    operation: str, request: Json, find_principal: Callable[[str], Principal | None]
) -> Json:
    """Carry out one of the four actions of the policy simulator.

    Args:
        operation: The name of the action, for example ``SimulatePrincipalPolicy``.
        request: The request.
        find_principal: A function that takes the ARN of a user, group or role, and returns this
            principal with its policies. For an unknown ARN, the function returns None.

    Raises:
        ApiError: A member of the request is not valid, or the principal does not exist.
    """
    _refuse_invalid_simulation(operation, request)
    given = request.get("PolicyInputList", [])
    policies = [
        PrincipalPolicy(f"PolicyInputList.{number}", "none", document)
        for number, document in enumerate(given, start=1)
    ]
    boundary = None
    if "PolicySourceArn" in request:
        principal = find_principal(request["PolicySourceArn"])
        if principal is None:
            raise ApiError(
                "NoSuchEntity",
                f"The entity {request['PolicySourceArn']} does not exist.",
                status=404,
            )
        policies = [*principal.policies, *policies]
        boundary = principal.boundary
    if operation.startswith("GetContextKeys"):
        keys = [key for policy in policies for key in list_condition_keys(policy.document)]
        return {"ContextKeyNames": list(dict.fromkeys(keys))}
    for document in request.get("PermissionsBoundaryPolicyInputList", []):
        boundary = document
    return _cut_page_of_results(
        list(_evaluate_actions_by_policies(request, policies, boundary)), request
    )


def _refuse_invalid_simulation(operation: str, request: Json) -> None:
    shape: Any = load_service_model("iam").operation_model(operation).input_shape
    violations = list(find_violations(shape, request))
    if violations:
        raise ApiError("ValidationError", "; ".join(violations))
    try:
        refuse_unserved_members(operation, request)
    except ApiError as err:
        raise ApiError("InvalidInput", err.message) from err
    if len(request.get("PermissionsBoundaryPolicyInputList", [])) > 1:
        raise ApiError(
            "InvalidInput",
            "PermissionsBoundaryPolicyInputList takes only one permissions boundary.",
        )
    for member in ("PolicyInputList", "PermissionsBoundaryPolicyInputList"):
        for number, document in enumerate(request.get(member, []), start=1):
            if not _is_iam_policy_document(document):
                raise ApiError("InvalidInput", f"{member}.{number} is not a policy in JSON.")
    for action in request.get("ActionNames", []):
        if not ACTION.fullmatch(action):
            raise ApiError(
                "InvalidInput",
                f"Invalid action {action}. Write an action as SERVICE:NAME, such as s3:GetObject.",
            )


def _is_iam_policy_document(document: str) -> bool:
    """Return whether a string is a policy whose statements can be evaluated."""
    try:
        statements = parse_json(document)["Statement"]
    except (ValueError, KeyError, TypeError):
        return False
    listed = statements if isinstance(statements, list) else [statements]
    return all(
        isinstance(one, dict)
        and str(one.get("Effect")) in {"Allow", "Deny"}
        and ("Action" in one) != ("NotAction" in one)
        and ("Resource" in one) != ("NotResource" in one)
        and all(_is_text_or_texts(one[name]) for name in PATTERN_ELEMENTS if name in one)
        and _is_condition(one.get("Condition", {}))
        for one in listed
    )


def _is_text_or_texts(value: Any) -> bool:
    listed = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) for one in listed)


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(keys, dict) for keys in value.values())


def _evaluate_actions_by_policies(
    request: Json, policies: Sequence[PrincipalPolicy], boundary: str | None
) -> Iterator[Json]:
    """Yield a result for each pair of an action and a resource in the request."""
    context = {
        entry["ContextKeyName"]: entry.get("ContextKeyValues", [])
        for entry in request.get("ContextEntries", [])
    }
    known = {name.lower() for name in context}
    # The local service has only one account, so every resource belongs to it. AWS's simulator also
    # knows the account of a resource.
    context = {"s3:ResourceAccount": [ACCOUNT], "aws:ResourceAccount": [ACCOUNT], **context}
    for action in request["ActionNames"]:
        keys = [key for one in policies for key in list_condition_keys(one.document, action)]
        missing = [
            key
            for key in dict.fromkeys(keys)
            if key.lower() not in known | {"s3:resourceaccount", "aws:resourceaccount"}
        ]
        for resource in request.get("ResourceArns") or ["*"]:
            decided = decide_action(
                [one.document for one in policies], action, resource, context, boundary=boundary
            )
            matched = [
                {"SourcePolicyId": policies[at].name, "SourcePolicyType": policies[at].kind}
                for at in decided.documents
            ]
            result: Json = {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": decided.decision,
                "MatchedStatements": matched,
                "MissingContextValues": missing if resource == "*" else [],
            }
            detail = {}
            if decided.allowed_by_boundary is not None:
                allowed = {"AllowedByPermissionsBoundary": decided.allowed_by_boundary}
                detail = {"PermissionsBoundaryDecisionDetail": allowed}
            if resource != "*":
                specific = {
                    "EvalResourceName": resource,
                    "EvalResourceDecision": decided.decision,
                    "MatchedStatements": matched,
                    "MissingContextValues": missing,
                }
                result["ResourceSpecificResults"] = [specific | detail]
            yield result | detail


def _cut_page_of_results(results: Sequence[Json], request: Json) -> Json:
    page = {"MaxResults": request.get("MaxItems", PAGE_SIZE)}
    if "Marker" in request:
        page["NextToken"] = request["Marker"]
    try:
        found, marker = cut_page_of_list(results, page)
    except ApiError as err:
        raise ApiError(
            "InvalidInput", "The Marker is not one that this service has returned."
        ) from err
    answer: Json = {"EvaluationResults": found, "IsTruncated": marker is not None}
    return answer | ({"Marker": marker} if marker else {})
