"""List the wheels that pip installed, with their SHA-256, in the format of ``sha256sum``.

    record_wheels.py REPORT WHEELS

``REPORT`` is the file that ``pip install --report`` wrote. ``WHEELS`` is the list to write;
``drdeploy image sbom`` reads it.
"""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import json
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

report, wheels = (Path(name) for name in sys.argv[1:])
lines = []
for installed in json.loads(report.read_text("utf-8"))["install"]:
    download = installed["download_info"]
    # Only the file name is kept, because the rest of the address may name a private mirror.
    name = unquote(urlsplit(download["url"]).path.rpartition("/")[2])
    sha256 = download["archive_info"]["hashes"]["sha256"]
    lines.append(f"{sha256}  {name}\n")
wheels.parent.mkdir(parents=True, exist_ok=True)
wheels.write_text("".join(sorted(lines, key=lambda line: line[64:])))
