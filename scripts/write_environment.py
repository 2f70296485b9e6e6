"""Write ``environment.yml``: the project's direct dependencies, at the versions of the lock file.

Conda users get the same versions as in ``requirements/dev.txt``. A test checks that the file is up
to date.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "environment.yml"
EXTRAS = ("serve", "cloud", "clinic", "study", "train", "tensorflow")

HEADER = """\
# For Conda users: `conda env create -f environment.yml && conda activate drdeploy`, then
# `pip install --no-deps --editable .`.  Written by scripts/write_environment.py.
name: drdeploy
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - nginx
  - pip:
"""


def requirement_name(requirement: str) -> str:
    """Return the name in a requirement such as ``tensorflow-cpu>=2.19; marker``."""
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def direct_dependencies() -> list[str]:
    """Return the sorted names of the packages that the project and its ``EXTRAS`` require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = list(project["dependencies"])
    for extra in EXTRAS:
        stated += project["optional-dependencies"][extra]
    return sorted({requirement_name(item) for item in stated} - {"drdeploy"})


def locked_lines() -> dict[str, list[str]]:
    """Return the pinned versions by package; some packages have several, with markers."""
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "requirements/dev.txt").read_text().splitlines():
        if re.match(r"[a-z0-9]", line):
            pin = line.removesuffix("\\").strip()
            pins.setdefault(requirement_name(pin), []).append(pin)
    return pins


def environment() -> str:
    """Return the text of ``environment.yml``."""
    pins = locked_lines()
    lines = [f'      - "{pin}"\n' for name in direct_dependencies() for pin in pins[name]]
    return HEADER + "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(environment())
    sys.stdout.write(f"wrote {TARGET.name}\n")
