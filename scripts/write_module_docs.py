"""Write the tables of inputs and outputs into every README below ``infrastructure/``.

In each README, the text above the comment ``MARKER`` is written by hand. The tables below it are
made from ``variables.tf`` and ``outputs.tf``. A test fails if the tables are out of date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

INFRASTRUCTURE = Path(__file__).resolve().parent.parent / "infrastructure"
MARKER = "<!-- Below: scripts/write_module_docs.py -->"

BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
ARGUMENT = re.compile(r"^  (\w+) += (.*?)(?=^  \w|\Z|^\n)", re.MULTILINE | re.DOTALL)
LIMIT = re.compile(r'error_message = "(.*)"')


@dataclass(frozen=True)
class Entry:
    """A variable or an output of a Terraform module.

    Attributes:
        kind: ``variable`` or ``output``.
        name: The name of the variable or output.
        arguments: The text of each argument of its Terraform block, by the argument's name.
    """

    kind: str
    name: str
    arguments: dict[str, str]

    @property
    def description(self) -> str:
        """The description, ready for a cell of a table."""
        text = self.arguments["description"].strip().strip('"')
        return text.replace('\\"', '"').replace("|", "\\|")

    @property
    def row(self) -> str:
        """The row of the table."""
        if self.kind == "output":
            return f"| `{self.name}` | {self.description} |"
        default = self.arguments.get("default")
        shown = "required" if default is None else f"`{' '.join(default.split())}`"
        return (
            f"| `{self.name}` | {self.description} | `{_plain(self.arguments['type'])}` | {shown} |"
        )


def entries(file: Path) -> list[Entry]:
    """Return the variables and outputs of a file, in the order of the file."""
    text = file.read_text(encoding="utf-8")
    return [
        Entry(kind, name, {found[1]: found[2].strip() for found in ARGUMENT.finditer(body)})
        for kind, name, body in BLOCK.findall(text)
    ]


def tables(folder: Path) -> str:
    """Return the tables of inputs and outputs of a module or environment."""
    inputs = [one.row for one in entries(folder / "variables.tf")]
    outputs = [one.row for one in entries(folder / "outputs.tf")]
    return "\n".join(
        [
            "## Inputs",
            "",
            "| name | what it is | type | default |",
            "|---|---|---|---|",
            *inputs,
            "",
            "## Outputs",
            "",
            "| name | what it is |",
            "|---|---|",
            *outputs,
            "",
        ]
    )


def written(readme: Path) -> str:
    """Return the text of a README with new tables."""
    head, _, _ = readme.read_text(encoding="utf-8").partition(MARKER)
    return f"{head.rstrip()}\n\n{MARKER}\n\n{tables(readme.parent)}"


def readmes() -> list[Path]:
    """Return the READMEs that have tables."""
    return sorted(file.parent / "README.md" for file in INFRASTRUCTURE.glob("*/*/variables.tf"))


def main() -> None:
    """Write the tables of every README."""
    for readme in readmes():
        readme.write_text(written(readme), encoding="utf-8")


def _plain(type_text: str) -> str:
    """Return a type for the table, in one line; ``map(object({...}))`` becomes ``map of object``.

    Only types of more than 40 characters are shortened.
    """
    one_line = " ".join(type_text.split())
    return one_line if len(one_line) <= 40 else one_line.partition("({")[0].replace("(", " of ")


if __name__ == "__main__":
    main()
