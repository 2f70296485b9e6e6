"""Mutated bodies of six formats, and what a server makes of them.

::

    python tests/support/hostile_bodies.py lean --count 100000       # in a container of 1024 MB
    python tests/support/hostile_bodies.py reduced --count 100000

The bodies follow from the seed and their number.  What holds: no worker is lost, the resident
memory at the end is within 5 % of that at the start, and every answer is 2xx, or 4xx with a
sentence.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from image_files import encoded, gradient
from photographs import photograph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Served

MEMORY_MB = 1024
WARM_UP = 500
"""Bodies before the first look at the memory: caches have filled by then.  The largest ordinary
pictures follow, because a mutation may turn a small picture into one of them, and malloc keeps some
of the memory that such a picture took."""
CLIENTS = 4
GROWTH = 0.05
INTERESTING = (b"\x00", b"\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff", b"\x80\x00")


@cache
def seeds() -> dict[str, tuple[str, bytes]]:
    """Return a sound body of each format, with its content type."""
    jpeg = photograph(96)
    text = base64.b64encode(jpeg).decode()
    part = b'--line\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
    return {
        "jpeg": ("image/jpeg", jpeg),
        "progressive jpeg": ("image/jpeg", encoded(gradient(), "JPEG", progressive=True)),
        "png": ("image/png", photograph(96, kind="PNG")),
        "tiff": ("image/tiff", encoded(gradient(), "TIFF", compression="tiff_lzw")),
        "json": ("application/json", json.dumps({"instances": [{"b64": text}] * 2}).encode()),
        "multipart": (
            "multipart/form-data; boundary=line", (part + jpeg + b"\r\n") * 2 + b"--line--\r\n",
        ),
    }  # fmt: skip


def mutated(seed: int, number: int) -> tuple[str, bytes]:
    """Return the content type and the body with a number; the same for the same seed."""
    chance = random.Random(f"{seed}/{number}")
    content_type, sound = list(seeds().values())[number % len(seeds())]
    body = bytearray(sound)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(body) or 1)
        kind = chance.randrange(5)
        if kind == 0:
            body[place : place + 1] = chance.randbytes(1)
        elif kind == 1:
            value = chance.choice(INTERESTING)
            body[place : place + len(value)] = value
        elif kind == 2:
            del body[place : place + chance.randrange(1, 64)]
        elif kind == 3:
            body[place:place] = body[place : place + chance.randrange(1, 256)]
        else:
            del body[place if chance.random() < 0.2 else len(body) :]
    return content_type, bytes(body)


@dataclass
class HostileRun:
    """What became of the bodies.

    Attributes:
        statuses: How many answers had each status; 0 stands for none.
        problems: Answers that none should get, with the number of their body.
        memory_mb: Resident memory of the workers at the start and at the end.
        lost_workers: Workers that were there at the start and not at the end.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    memory_mb: tuple[float, float] = (0.0, 0.0)
    lost_workers: int = 0

    @property
    def growth(self) -> float:
        """By which share of its start the memory grew."""
        return self.memory_mb[1] / self.memory_mb[0] - 1

    def __str__(self) -> str:
        first, last = self.memory_mb
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(self.statuses.items()))
        return (
            f"{statuses}; {self.lost_workers} workers lost; memory {first:.0f} MB, then "
            f"{last:.0f} MB ({self.growth:+.1%}); {len(self.problems)} bad answers"
        )


def _send_largest_pictures(server: Served) -> None:
    """Send the costliest pictures of the ordinary lane from all clients at once."""
    jpeg = encoded(gradient(4096, 4096), "JPEG")
    bodies = [
        ("image/jpeg", jpeg),
        ("image/jpeg", encoded(gradient(2896, 2896), "JPEG", progressive=True)),
        ("image/png", encoded(gradient(1984, 1984), "PNG")),
        ("image/tiff", encoded(gradient(1984, 1984), "TIFF", compression="tiff_lzw")),
    ]

    def send(client_number: int) -> None:
        with server.connect() as client:
            for turn in range(3 * len(bodies)):
                _answer(client, *bodies[(client_number + turn) % len(bodies)])

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(send, range(CLIENTS)))


def run(server: Served, *, count: int, seed: int = 1, warm_up: int = WARM_UP) -> HostileRun:
    """Send the bodies from a few clients, after some that count for nothing."""
    done = HostileRun()
    _send(server, HostileRun(), range(-warm_up, 0), seed)
    _send_largest_pictures(server)
    before, first = server.pids(), _memory_mb(server)
    _send(server, done, range(count), seed)
    done.memory_mb = (first, _memory_mb(server))
    done.lost_workers = len(set(before) - set(server.pids()))
    return done


def _memory_mb(server: Served) -> float:
    return sum(worker.memory_info().rss for worker in server.workers()) / 1e6


def _send(server: Served, done: HostileRun, numbers: range, seed: int) -> None:
    def some(share: range) -> Iterator[tuple[int, int, str]]:
        with server.connect() as client:
            for number in share:
                yield number, *_answer(client, *mutated(seed, number))

    shares = [numbers[first::CLIENTS] for first in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        for answers in threads.map(lambda share: list(some(share)), shares):
            for number, status, message in answers:
                done.statuses[status] += 1
                if not (200 <= status < 300 or (400 <= status < 500 and _is_sentence(message))):
                    done.problems.append(f"body {number}: {status} {message}")


def _answer(client: httpx.Client, content_type: str, body: bytes) -> tuple[int, str]:
    try:
        answer = client.post("/invocations", content=body, headers={"content-type": content_type})
    except httpx.TransportError as err:
        return 0, repr(err)
    message = "" if answer.is_success else str(answer.json()["error"]["message"])
    return answer.status_code, message


def _is_sentence(message: str) -> bool:
    return message.endswith(".") and "\n" not in message


def main() -> int:
    """Run an image in a container of 1024 MB; the exit status is 1 if something does not hold."""
    from served import serve_container
    from tiny_models import onnx_artifact, saved_model_artifact

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images import build_image

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("image", choices=["lean", "minimal", "reduced"])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    engine = ContainerEngine.find()
    if engine is None:
        sys.exit("There is no container engine: see scripts/start-engine.sh")
    artifact = saved_model_artifact if options.image == "reduced" else onnx_artifact
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        model_dir = artifact(Path(folder))
        for path in (model_dir, *model_dir.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        tag = build_image(engine, options.image).tag
        server = serve_container(engine, tag, model_dir, ready_s=180, memory_mb=MEMORY_MB)
        try:
            done = run(server, count=options.count, seed=options.seed)
        finally:
            server.close()
    sys.stdout.write("\n".join([f"{options.image}: {done}", *done.problems[:20], ""]))
    return int(bool(done.problems or done.lost_workers or done.growth > GROWTH))


if __name__ == "__main__":
    sys.exit(main())
