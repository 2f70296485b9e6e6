"""All limits on the resources that a request, a client or a flood of requests may use.

The sender of a request may be an attacker. Everything that a client decides therefore has a limit:
how much it sends, how slowly it sends, in how many pieces, and how much work its request causes.
Both profiles of the server, lean and classic, read the limits from this module. The configuration
of NGINX is rendered from the same limits. The table in ``SECURITY.md`` is generated from the
descriptions in this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args, get_type_hints

import msgspec

from drdeploy.grader.fundus.limits import ImageLimits
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

PLACE_BYTES = 68_000_000
"""The bytes of one place. A place is the unit in which the server counts memory for decoding
images. The more memory a request needs to decode its images, the more places it takes. One place is
enough for a PNG or TIFF of 4 million pixels, a JPEG of 17 million pixels, or a progressive JPEG of
8.5 million pixels. An image that needs more is a large image (see ``large_images``).
"""

IMAGE_PLACES = 10
"""How many places of ``PLACE_BYTES`` the largest image takes. The largest image has 40 million
pixels of 17 bytes each.
"""

BODIES_BYTES = 64 * MIB
"""Memory for the request bodies of all workers in a container: enough for a hundred usual
photographs. Each worker gets an equal share of it, but at least the memory for two of the largest
bodies.
"""

STUCK_S = 30.0
"""A thread counts as stuck after this many seconds at the earliest. A client's request can cost up
to five seconds of CPU time, and these take longer on a small or busy machine. With a shorter limit,
one request could end a worker together with the requests of other clients."""

LOG_WINDOW_S = 10.0
LOG_LINES = 50
LOG_LINE_BYTES = 8 * KIB


def _describe_budget_field(unit: str, beyond: str, why: str) -> msgspec.Meta:
    return msgspec.Meta(description=why, extra={"unit": unit, "beyond": beyond})


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one worker process; :func:`make_worker_budgets` makes them."""

    connections: Annotated[
        int,
        _describe_budget_field(
            "connections",
            "the connection that has been idle longest is closed; 503 if none is idle",
            "A container may have as few as 1,024 file descriptors.",
        ),
    ] = 512
    head_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes", "431", "Size of request line and header fields (`DRDEPLOY_MAX_HEADER_KB`)."
        ),
    ]
    header_fields: Annotated[
        int,
        _describe_budget_field(
            "fields", "431", "Header fields; SageMaker and its proxies send about fifteen."
        ),
    ] = 100
    head_s: Annotated[
        float,
        _describe_budget_field(
            "s",
            "408, but no answer if no byte arrived; NGINX closes without an answer",
            "Time from the connection, or from the first byte of a later request, to the end of "
            "the headers "
            "(`DRDEPLOY_READ_TIMEOUT_S`).",
        ),
    ]
    idle_s: Annotated[
        float,
        _describe_budget_field(
            "s", "closed", "Time between two requests on a connection (`DRDEPLOY_KEEP_ALIVE_S`)."
        ),
    ]
    body_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "413",
            "Size of a body; InvokeEndpoint has the same limit (`DRDEPLOY_MAX_PAYLOAD_MB`).",
        ),
    ]
    body_s: Annotated[
        float,
        _describe_budget_field(
            "s", "408", "Time from the headers to the end of the body (`DRDEPLOY_READ_TIMEOUT_S`)."
        ),
    ]
    body_grace_s: Annotated[
        float,
        _describe_budget_field(
            "s", "408", "Time at the start of a body in which no minimum rate is required."
        ),
    ] = 5.0
    body_bytes_per_s: Annotated[
        int,
        _describe_budget_field(
            "bytes/s",
            "408",
            "Lowest average rate at which a body may arrive; even a poor mobile connection is "
            "three times as fast.",
        ),
    ] = 16 * KIB
    body_chunks: Annotated[
        int,
        _describe_budget_field(
            "chunks",
            "413",
            "Chunks of a body in chunked coding; each chunk costs a microsecond of the event loop. "
            "In the classic profile, NGINX decodes the chunks.",
        ),
    ] = 65_536
    framing_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "431 (classic: 408)",
            "Size of chunk extensions between two pieces of a body, and of trailers after the "
            "body; the server ignores both.",
        ),
    ] = 16 * KIB
    bodies_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "503 for the slowest upload",
            "Total size of the bodies that the worker holds, each from its first byte to its "
            "answer.",
        ),
    ]
    ahead_requests: Annotated[
        int,
        _describe_budget_field(
            "requests",
            "closed after the answer",
            "Requests that a client sends before an earlier one is answered. The event loop "
            "answers such requests, and a request for `/metrics` takes it a millisecond. In the "
            "classic profile, NGINX reads one request after the other.",
        ),
    ] = 16
    ahead_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "closed after the answer",
            "Size of requests that a client sends before an earlier one is answered; hardly any "
            "client does this. In the classic profile, NGINX reads one request after the other.",
        ),
    ] = 16 * KIB
    images: Annotated[
        int, _describe_budget_field("images", "413", "Images in a request (`DRDEPLOY_MAX_IMAGES`).")
    ]
    form_fields: Annotated[
        int,
        _describe_budget_field(
            "fields", "413", "Fields of a form other than images; real forms have a few."
        ),
    ] = 32
    json_commas: Annotated[
        int,
        _describe_budget_field(
            "commas",
            "413",
            "Commas in a JSON body. They separate values, and each value takes 40 bytes of memory "
            "or more.",
        ),
    ] = 4096
    image_pixels: Annotated[
        int,
        _describe_budget_field(
            "pixels",
            "413",
            "Pixels of an image. The largest fundus photographs that we know of have 36 million.",
        ),
    ] = ImageLimits().max_pixels
    image_side_px: Annotated[
        int,
        _describe_budget_field("pixels", "413", "Maximum width and maximum height of an image."),
    ] = ImageLimits().max_side_px
    image_places: Annotated[
        int,
        _describe_budget_field(
            "places",
            "413",
            "Memory to decode one image, counted in places of 68 MB each: a PNG of 40 million "
            "pixels takes ten places. The limit is lower if the container has too little memory.",
        ),
    ]
    request_places: Annotated[
        int,
        _describe_budget_field(
            "places",
            "413",
            "Memory to decode each image of a request, added up and counted in places of 68 MB. "
            "The limit allows four of the largest PNG files, eight of the largest progressive "
            "JPEG files, or sixteen of the largest other JPEG files, which take five seconds of "
            "CPU time.",
        ),
    ] = 40
    ordinary_places: Annotated[
        int,
        _describe_budget_field(
            "places",
            "503",
            "Places for requests, in progress or waiting, whose images take at most 68 MB each to "
            "decode (`DRDEPLOY_CONCURRENCY` and `DRDEPLOY_QUEUE_LENGTH`). A request takes a second "
            "place if its images take more than 68 MB together, and so on.",
        ),
    ]
    large_places: Annotated[
        int,
        _describe_budget_field(
            "places",
            "503",
            "Places for requests with an image that takes more than 68 MB to decode. These "
            "requests wait in a separate queue, which has room for eight of the largest PNG files.",
        ),
    ] = 80
    processing_s: Annotated[
        float,
        _describe_budget_field(
            "s",
            "504",
            "Time from the end of the request to its answer (`MODEL_SERVER_TIMEOUT`).",
        ),
    ]
    stuck_s: Annotated[
        float,
        _describe_budget_field(
            "s",
            "the worker is replaced",
            "Time that a thread may work on one request. The time is twice `processing_s`, but at "
            "least the time that the costliest request takes on a sixth of a vCPU.",
        ),
    ]
    answer_s: Annotated[
        float,
        _describe_budget_field(
            "s",
            "closed",
            "Time for a client to read its answer of a few kilobytes. In the classic "
            "profile, the limit applies to the time between two reads.",
        ),
    ] = 10.0
    unread_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "the next request waits",
            "Send buffer of a connection, in which the kernel keeps answers until the client "
            "reads them. By default, the kernel would let a client leave four megabytes of "
            "answers unread, and the server would compute all of them.",
        ),
    ] = 16 * KIB
    linger_s: Annotated[
        float,
        _describe_budget_field(
            "s", "closed", "Time for a refused client to stop sending and to read the reason."
        ),
    ] = 2.0
    log_lines: Annotated[
        int,
        _describe_budget_field(
            "lines",
            "one line with the number of withheld lines",
            "Log lines of one kind in ten seconds, except the line of each graded request. "
            "Requests that are refused because there are too many are only counted.",
        ),
    ] = LOG_LINES
    log_line_bytes: Annotated[
        int,
        _describe_budget_field(
            "bytes",
            "cut off",
            "Length of a log line. Lines of NGINX and of libraries may quote long texts that a "
            "client sent.",
        ),
    ] = LOG_LINE_BYTES


class BudgetFacts(NamedTuple):
    """One limit, as listed in ``SECURITY.md``."""

    name: str
    value: str
    beyond: str
    why: str


def make_worker_budgets(
    settings: Settings, capacity: Capacity, *, image_places: int = IMAGE_PLACES
) -> Budgets:
    """Return the limits of one worker.

    Args:
        settings: The settings of the server.
        capacity: The number of workers, and of invocations that each handles at once.
        image_places: The largest amount of memory that decoding one image may take, in units of
            ``PLACE_BYTES``, called places.
    """
    body_bytes = settings.max_payload_bytes
    return Budgets(
        head_bytes=settings.max_header_bytes,
        head_s=settings.read_timeout_s,
        idle_s=settings.keep_alive_s,
        body_bytes=body_bytes,
        body_s=settings.read_timeout_s,
        # Two bodies of the largest size always fit: one that is worked on, and one that arrives.
        bodies_bytes=max(BODIES_BYTES // capacity.workers, 2 * body_bytes),
        images=settings.max_images,
        image_places=image_places,
        ordinary_places=capacity.concurrency + settings.queue_length,
        processing_s=settings.timeout_s,
        stuck_s=max(2 * settings.timeout_s, STUCK_S),
    )


def list_budget_facts(budgets: Budgets) -> Iterator[BudgetFacts]:
    """Yield every limit, in the order of :class:`Budgets`."""
    hints = get_type_hints(Budgets, include_extras=True)
    for field in msgspec.structs.fields(Budgets):
        meta = next(part for part in get_args(hints[field.name]) if isinstance(part, msgspec.Meta))
        extra = meta.extra or {}
        value = f"{getattr(budgets, field.name):,} {extra['unit']}"
        yield BudgetFacts(field.name, value, extra["beyond"], meta.description or "")
