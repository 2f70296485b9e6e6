"""All clauses in the order in which they are checked: a container is stopped last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.conformance import (
    bad_bodies,
    broken_model,
    conditions,
    image,
    loading,
    logs,
    processes,
    requests,
    starting,
    stopping,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from drdeploy.hosting.conformance.clause import Clause

CLAUSES: tuple[Clause, ...] = (
    image.exec_form,
    image.image_size,
    image.bind_to_port_label,
    starting.serves_on_8080,
    starting.model_read_only,
    starting.ping_is_true,
    starting.warmed_up,
    requests.answers_photographs,
    requests.unknown_headers,
    requests.custom_attributes,
    requests.inference_id,
    requests.payload_4_mb,
    requests.payload_6_mb,
    loading.memory_limit,
    loading.answers_under_load,
    loading.ping_under_load,
    loading.accepts_sockets,
    bad_bodies.refuses_empty_body,
    bad_bodies.refuses_garbage,
    bad_bodies.refuses_truncated_image,
    bad_bodies.refuses_wrong_type,
    bad_bodies.withstands_oversize,
    bad_bodies.survives_bad_bodies,
    logs.logs,
    logs.logs_no_image,
    logs.logs_failures,
    broken_model.not_ready_without_model,
    broken_model.exits_without_model,
    conditions.bind_to_port,
    conditions.batch,
    conditions.execution_parameters,
    conditions.read_only_root,
    conditions.arbitrary_user,
    processes.cpu_limit,
    processes.replaces_killed_worker,
    stopping.stops_on_sigterm,
    stopping.exit_status,
    stopping.finishes_work,
    stopping.restarts,
    stopping.accepts_nothing_new,
    stopping.finishes_uploads,
)


def select_clauses(ids: Collection[str]) -> tuple[Clause, ...]:
    """Return the clauses with the given ids, or all of them if none is given.

    Raises:
        InvalidInput: There is no such clause.
    """
    known = [clause.id for clause in CLAUSES]
    for name in ids:
        if name not in known:
            raise InvalidInput(
                f"There is no clause {name!r}",
                where="--only",
                remedy=f"Choose from {', '.join(known)}",
            )
    return tuple(clause for clause in CLAUSES if not ids or clause.id in ids)
