"""What pyproject.toml declares, and which installed distribution a module comes from."""

import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

PROJECT = tomllib.loads(
    (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]
EXTRAS = tuple(PROJECT["optional-dependencies"])


def distributions(requirements: list[str]) -> set[str]:
    """Names of what these requirements ask for; an extra of our own stands for what it brings."""
    names = set()
    for requirement in requirements:
        if own := re.fullmatch(r"drdeploy\[(.*)\]", requirement):
            names = names.union(*map(of_extra, own[1].split(",")))
        else:
            names.add(_normalized(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]))
    return names


def plain() -> set[str]:
    """What a plain install brings."""
    return distributions(PROJECT["dependencies"])


def of_extra(extra: str) -> set[str]:
    """What an extra brings beside the plain install."""
    return distributions(PROJECT["optional-dependencies"][extra])


def owners_of(module: str) -> set[str]:
    """The distributions that install a top-level module."""
    owners = {_normalized(owner) for owner in _installed().get(module, ["(none)"])}
    # One of the two, by the processor; only that one is installed where this is asked.
    tensorflow = {"tensorflow", "tensorflow-cpu"}
    return owners | tensorflow if owners & tensorflow else owners


def is_installed(module: str) -> bool:
    """Whether a top-level module comes from a distribution, not from Python or from here."""
    return module in _installed()


@cache
def _installed() -> dict[str, list[str]]:
    return dict(packages_distributions())  # reads the record of every package: seconds


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
