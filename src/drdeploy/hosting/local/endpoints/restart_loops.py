"""Find servers that answer pings, but whose workers keep failing for lack of write permission.

Some servers, for example multi-model-server, answer ``GET /ping`` in one process and requests in
others. If a worker of such a server lacks the right to write a file that it needs, the worker ends,
and the server starts it again and again. Every ping is answered, but every request waits until it
times out. AWS does not publish which user runs a serverless container. In the local service, the
user has no special rights. If a server fails because it lacks the right to write a file, the
service must say so instead of letting requests time out.

A log line that says that a write was denied is called a *refusal*. One refusal proves nothing,
because most servers log it and continue. A refusal counts only if it appears again and again after
the server has answered a ping. No request arrives during this time, so only a restarting worker can
repeat the line.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.instance import Instance, StartFailed

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Clock

SETTLE_S = 1.0
"""Seconds after the ping during which a refusal (a log line about a denied write) is ignored,
because each worker of a healthy server may log such a line once.
"""
WATCH_S = 10.0
"""Seconds for which a server is watched after it has logged a denied write.

The server multi-model-server waits 1, 1, 2, 3, 5 … s before it starts a worker again.
"""
LOOK_AGAIN_S = 0.5
LOOKS_AT_LEAST = 4
"""The log is read at least this many times, even if a slow engine needs more than ``WATCH_S``
seconds for that.
"""
RETURNS = 2
"""How often a line about a denied write must come again before it counts as a restart loop."""
_REFUSAL = re.compile(
    r"permission ?denied|PermissionError|read-only file system|operation not permitted"
    r"|AccessDeniedException|\bEACCES\b|\bEROFS\b|\bEPERM\b",
    re.IGNORECASE,
)
_CHANGING = re.compile(r"[0-9a-f]+", re.IGNORECASE)
"""Matches the characters of times, process ids and random names. Two lines about the same problem
differ only in these. The words that remain are enough to tell problems apart.
"""
_LINE_CHARACTERS = 300


def refuse_restart_loop(instance: Instance, clock: Clock) -> None:
    """Raise an error if a server restarts its workers endlessly, because they may not write a file.

    Args:
        instance: An instance that has answered a ping and has had no request.
        clock: The clock that measures how long the instance is watched.

    Raises:
        StartFailed: The server fails again and again; the message quotes the line that it repeats.
    """
    clock.sleep(SETTLE_S)
    deadline = clock.monotonic() + WATCH_S
    before = _count_log_lines_of_refusals(instance)
    returns: Counter[str] = Counter()
    looks = 0
    while before and (clock.monotonic() < deadline or looks < LOOKS_AT_LEAST):
        looks += 1
        clock.sleep(LOOK_AGAIN_S)
        now = _count_log_lines_of_refusals(instance)
        returns.update(text for text in now if now[text] > before[text])
        before = now
        for text, times in returns.items():
            if times >= RETURNS:
                raise StartFailed(
                    "The container answers pings, but its server fails again and again and cannot "
                    f"answer a request: {_find_last_line(instance, text)}",
                    where=instance.name,
                    remedy=(
                        "The container has fewer rights here than the image may expect. Let every "
                        "user write where the server writes: add `RUN chmod -R o+rwX FOLDER` to "
                        "the Dockerfile. Or let the server write below /tmp, for example with "
                        "TEMP=/tmp or TMPDIR=/tmp in the model's Environment"
                    ),
                )


def _count_log_lines_of_refusals(instance: Instance) -> Counter[str]:
    """Count how often each denied write was logged; times and process ids in a line are ignored."""
    return Counter(_remove_changing_parts(line) for line in _list_log_lines_of_refusals(instance))


def _find_last_line(instance: Instance, text: str) -> str:
    lines = reversed(_list_log_lines_of_refusals(instance))
    return next((line for line in lines if _remove_changing_parts(line) == text), text).strip()


def _list_log_lines_of_refusals(instance: Instance) -> list[str]:
    lines = (line[:_LINE_CHARACTERS] for line in instance.read_log().splitlines())
    return [line for line in lines if _REFUSAL.search(line)]


def _remove_changing_parts(line: str) -> str:
    return _CHANGING.sub("", line)
