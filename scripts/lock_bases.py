"""Update the digests of the base images in ``bases.toml`` to those that the registry has today.

    python scripts/lock_bases.py

The script reads the manifest of each base image from the registry's API (OCI distribution
specification 1.1, endpoint end-3), and computes the digest itself. If a header of the answer states
a different digest, the script stops.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests

from drdeploy.hosting.images.base_images import LOCK, LockedBase, read_locked_bases

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TIMEOUT_S = 30
_FIELD = re.compile(r'(\w+)="([^"]*)"')


def main(lock: Path = LOCK) -> int:
    """Write the new digest of every base image to the file; the comment at its top is kept."""
    header = lock.read_text("utf-8").partition("[[base]]")[0]
    today = datetime.now(UTC).date().isoformat()
    entries = [entry_of(moved(base, today)) for base in read_locked_bases(lock)]
    lock.write_text(header + "\n".join(entries), "utf-8")
    return 0


def moved(base: LockedBase, today: str) -> LockedBase:
    """Return a base image with new digests: those that the registry now gives for its tag."""
    digest, index = read_manifest(base)
    arm64 = [
        entry["digest"]
        for entry in index.get("manifests", ())
        if entry.get("platform", {}).get("os") == "linux"
        and entry.get("platform", {}).get("architecture") == "arm64"
    ]
    sys.stdout.write(f"{base.image}  {digest}  (was {base.digest or 'not locked'})\n")
    return LockedBase(base.debian, base.image, digest, (*arm64, "")[0], today, "the registry")


def read_manifest(base: LockedBase) -> tuple[str, dict[str, Any]]:
    """Fetch the manifest of a base image's tag; return its digest and the manifest."""
    url, scheme = manifest_url(base)
    headers = {"Accept": ", ".join(KINDS)}
    answer = requests.get(url, headers=headers, timeout=TIMEOUT_S)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code == requests.codes.unauthorized and challenge.startswith("Bearer "):
        headers["Authorization"] = f"Bearer {fetch_token(challenge)}"
        answer = requests.get(url, headers=headers, timeout=TIMEOUT_S)
    answer.raise_for_status()
    digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    claimed = answer.headers.get("Docker-Content-Digest", digest)
    if claimed != digest:
        sys.exit(f"{scheme}: the registry claims the digest {claimed}, but its answer has {digest}")
    return digest, json.loads(answer.content)


def manifest_url(base: LockedBase) -> tuple[str, str]:
    """Return the URL of the image's manifest, and the registry's host (by default Docker Hub's)."""
    repository, _, tag = base.image.rpartition(":")
    host, _, path = repository.partition("/")
    if not path or not ({".", ":"} & set(host)):
        host, path = "registry-1.docker.io", repository if path else f"library/{repository}"
    # Docker, too, contacts a registry on the loopback address without TLS.
    scheme = "http" if host.partition(":")[0] in {"127.0.0.1", "localhost"} else "https"
    return f"{scheme}://{host}/v2/{path}/manifests/{tag}", host


def fetch_token(challenge: str) -> str:
    """Fetch a token for reading, without an account, from the address that the registry names.

    ``challenge`` is the header ``WWW-Authenticate`` of the registry's first answer.
    """
    fields = dict(_FIELD.findall(challenge))
    query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
    answer = requests.get(f"{fields['realm']}?{query}", timeout=TIMEOUT_S)
    answer.raise_for_status()
    return str(answer.json().get("token") or answer.json()["access_token"])


def entry_of(base: LockedBase) -> str:
    """Return a base image as an entry of ``bases.toml``."""
    return (
        "[[base]]\n"
        f"debian = {base.debian}\n"
        f'image = "{base.image}"\n'
        f'digest = "{base.digest}"\n'
        f'arm64_digest = "{base.arm64_digest}"\n'
        f'locked_on = "{base.locked_on}"\n'
        f'source = "{base.source}"\n'
    )


if __name__ == "__main__":
    sys.exit(main())
