"""Write the reference pages of ``docs/reference`` from the code; a test keeps them in step."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from enum import EnumType
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.cli import get_docs_for_click
from typer.main import get_command

import drdeploy
from drdeploy import errors
from drdeploy.cli.app import build_app

if TYPE_CHECKING:
    from drdeploy.study.measurements.schema import CsvColumn

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by scripts/write_reference.py (`make docs`); do not edit. -->\n\n"


def command_line() -> str:
    """Return the help of every command, as Markdown."""
    command = get_command(build_app())
    context = command.make_context("drdeploy", [], resilient_parsing=True)
    return NOTE + get_docs_for_click(obj=command, ctx=context, name="drdeploy")


def measurement_columns() -> str:
    """Return the page on the columns of ``measurements.csv``."""
    from drdeploy.study.measurements.measurement import SCHEMA
    from drdeploy.study.measurements.schema import ONE_PER_TRIAL, OPTIONAL

    intro = (
        "# measurements.csv\n\n"
        "One row is one invocation. Warm-ups and failures are rows too; `drdeploy report` says how "
        "many rows it left out, and why. The columns, in order:\n\n"
        "| column | type | unit | what it says |\n|---|---|---|---|\n"
    )
    rows = (
        f"| `{one.name}` | {one.type_name} | {one.unit} | {one.meaning}{_choices(one)} |\n"
        for one in SCHEMA
    )
    optional = ", ".join(f"`{one.name}`" for one in SCHEMA if OPTIONAL in one.rules)
    of_trial = ", ".join(f"`{one.name}`" for one in SCHEMA if ONE_PER_TRIAL in one.rules)
    rules = (
        "\nAn empty cell stands for a value that is not known. Times are ISO 8601 in UTC.\n\n"
        f"A file of your own is reported and decided from as well. It may lack {optional}.\n\n"
        f"All rows of a trial agree in {of_trial}.\n"
    )
    return NOTE + intro + "".join(rows) + rules


def _choices(column: CsvColumn) -> str:
    choices = ", ".join(f"`{one}`" for one in column.choices if one)
    return f" One of {choices}." if choices else ""


def contract_clauses() -> str:
    """Return the page on the clauses of ``drdeploy image conform``."""
    from drdeploy.hosting.conformance import CLAUSES, Severity

    intro = (
        "# Clauses of the hosting contract\n\n"
        "`drdeploy image conform` checks these clauses in this order.\n\n"
        f"- `{Severity.MUST}`: an image that fails it does not conform (exit status 1).\n"
        f"- `{Severity.SHOULD}`: an image that fails it works, but its clients or operators are "
        "worse off.\n"
        f"- `{Severity.OPTIONAL}`: for information.\n\n"
        "The source `practice` means that AWS does not document it: containers failed for want of "
        "it.\n\n| clause | severity | it says | source |\n|---|---|---|---|\n"
    )
    rows = (f"| `{one.id}` | {one.severity} | {one.title} | {one.source} |\n" for one in CLAUSES)
    return NOTE + intro + "".join(rows)


SECTIONS: dict[str, tuple[str, ...]] = {
    "Grade photographs": (
        "box_artifact",
        "open_artifact",
        "ModelArtifact",
        "InferenceService",
        "Inference",
        "Prediction",
        "Grade",
        "ImageLimits",
    ),
    "Evaluate and quantize a grader": (
        "evaluate",
        "GraderEvaluation",
        "quantize",
        "QuantizationOutcome",
    ),
    "Host a grader": (
        "LocalService",
        "Hosting",
        "EndpointDefinition",
        "ServerlessConfig",
        "RealTimeConfig",
        "Invocation",
        "check_conformance",
        "ConformanceReport",
    ),
    "Run a study": ("Study", "run_study", "RunOutcome", "load_measurements", "Measurements"),
    "Decide how to host": (
        "recommend",
        "Traffic",
        "Shape",
        "Requirements",
        "Assumptions",
        "PriceSheet",
        "Decision",
    ),
    "Errors": ("DrdeployError", "MissingExtra"),
}
"""The public names in the order of the page; a test compares them with ``drdeploy.__all__``."""


def python_library() -> str:
    """Return the page on everything that ``import drdeploy`` offers."""
    intro = (
        "# The Python library\n\n"
        "Everything that `import drdeploy` offers, section by section. A name is imported when it "
        "is first used; one whose packages are not installed raises "
        "[`MissingExtra`](#missingextra), which says what to install. [The worked page]"
        "(../python.md) shows these names at work.\n"
    )
    contents = "".join(
        f"- {section}: {', '.join(f'[`{name}`](#{name.lower()})' for name in names)}\n"
        for section, names in SECTIONS.items()
    )
    parts = [NOTE + intro, contents]
    for section, names in SECTIONS.items():
        parts.append(f"## {section}\n")
        parts += [_entry(name, getattr(drdeploy, name)) for name in names]
        if section == "Errors":
            parts.append(f"All errors of the package:\n\n```text\n{_error_tree()}\n```\n")
    return "\n".join(parts)


def _error_tree() -> str:
    _, _, rest = (errors.__doc__ or "").partition("::\n\n")
    tree, _, _ = rest.partition("\n\n")
    return textwrap.dedent(tree)


def _entry(name: str, public: Any) -> str:
    """Return a name's signature and docstring, and those of a class's methods."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(public))).body
    parts = [f"### {name}\n", _code(_signature(name, public, definition)), _markdown(public)]
    if isinstance(definition, ast.ClassDef):
        parts += [_method(name, public, node) for node in definition.body if _is_public(node)]
    return "\n".join(parts)


def _signature(name: str, public: Any, definition: ast.stmt) -> str:
    if isinstance(public, EnumType):
        members = "".join(f"\n    {one.name} = {one.value!r}" for one in public)
        return f"class {name}:{members}"
    kinds = {one.kind for one in inspect.signature(public).parameters.values()}
    parameters = _parameters(definition, keyword_only=kinds == {inspect.Parameter.KEYWORD_ONLY})
    return f"class {name}{parameters}" if isinstance(public, type) else f"{name}{parameters}"


def _is_public(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("_")


def _method(name: str, owner: type, node: Any) -> str:
    decorators = {ast.unparse(one) for one in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        returns = f": {ast.unparse(node.returns)}" if node.returns else ""
        title = f"{name}.{node.name}{returns}"
    else:
        title = f"{name}.{node.name}{_parameters(node, is_method='staticmethod' not in decorators)}"
    return f"{_code(title)}\n{_markdown(inspect.getattr_static(owner, node.name))}"


def _parameters(node: Any, *, is_method: bool = False, keyword_only: bool = False) -> str:
    """Return the parameters of a function or a constructor, as they are in the source."""
    if isinstance(node, ast.ClassDef):
        made = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
        if made is not None:
            return _parameters(made, is_method=True)
        fields = [ast.unparse(one) for one in node.body if isinstance(one, ast.AnnAssign)]
        return _call(["*", *fields] if keyword_only else fields) if fields else ""
    arguments = node.args
    written = [ast.unparse(one) for one in arguments.args[is_method:]]
    plain = len(written) - len(arguments.defaults)
    written = written[:plain] + [
        f"{one} = {ast.unparse(value)}"
        for one, value in zip(written[plain:], arguments.defaults, strict=True)
    ]
    if arguments.kwonlyargs:
        written.append("*")
    for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        written.append(ast.unparse(one) + (f" = {ast.unparse(value)}" if value else ""))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return _call(written) + ("" if returns == " -> None" else returns)


def _call(written: list[str]) -> str:
    on_one_line = f"({', '.join(written)})"
    if len(on_one_line) <= 60:
        return on_one_line
    return "(\n" + "".join(f"    {one},\n" for one in written) + ")"


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _markdown(documented: Any) -> str:
    """Turn a Google-style docstring into Markdown: prose, usage blocks and lists."""
    text = inspect.getdoc(documented) or ""
    prose, *sections = re.split(r"^(Args|Attributes|Returns|Raises):\n", text, flags=re.MULTILINE)
    parts = [_prose(prose)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"{title}:\n\n{_items(textwrap.dedent(body))}")
    return "\n\n".join(parts) + "\n"


def _items(body: str) -> str:
    """Turn ``name: what it is``, with continuation lines, into a list; leave other text."""
    entries = re.split(r"^(?=\S)", body.strip(), flags=re.MULTILINE)
    lines = []
    for entry in filter(None, entries):
        flat = _inline(" ".join(entry.split()))
        lines.append(re.sub(r"^(\w+): ", r"- `\1`: ", flat) if ":" in flat else flat)
    return "\n".join(lines)


def _prose(text: str) -> str:
    """Turn paragraphs into Markdown; what is indented after ``::`` becomes a Python block."""
    blocks = re.split(r"\n\n+", text.strip())
    shown = []
    for block in blocks:
        if block.startswith("    "):
            shown.append(f"```python\n{textwrap.dedent(block)}\n```")
        elif block.startswith(">>>"):
            shown.append(f"```python\n{block}\n```")
        elif block != "::":
            shown.append(_inline(block.removesuffix("::").rstrip()))
    return "\n\n".join(shown)


def _inline(text: str) -> str:
    text = re.sub(r":(?:class|func|meth|attr|data|mod):`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").replace(".  ", ". ")


PAGES = {
    "command-line.md": command_line,
    "conformance.md": contract_clauses,
    "measurements.md": measurement_columns,
    "python.md": python_library,
}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write())
        sys.stdout.write(f"wrote docs/reference/{name}\n")
