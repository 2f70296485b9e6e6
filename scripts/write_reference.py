"""Write the pages of ``docs/reference`` from the code; a test checks that they are up to date."""

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
    from drdeploy.hosting.local.api.operation_coverage import MemberAnswer, OperationAnswer
    from drdeploy.study.measurements.schema import CsvColumn

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
SECURITY = ROOT / "SECURITY.md"
NOTE = "<!-- Written by scripts/write_reference.py (`make docs`); do not edit. -->\n\n"

REQUESTS = """\
# Bodies of requests

`POST /invocations` reads the photographs in any of these bodies, and answers in their order. Both profiles of the
server read bodies in the same way. The body contains the photographs themselves, and cannot name addresses from which
to fetch photographs.

The server recognises the kind of a body by its bytes, because clients send the same bytes with different types. If the
bytes are ambiguous, the `Content-Type` decides.

| body | read as |
|---|---|
| begins as a JPEG, PNG or TIFF, under any `Content-Type` | one photograph |
| `multipart/form-data`, or another `multipart/*` | the photographs in its parts |
| JSON, or any body as `application/json` | the photographs in it, in base64 |
| a photograph in base64, or a `data:` URL of one | one photograph |
| anything else as `image/*`, {types}, or without a type | one photograph, which the decoder refuses with the reason |
| anything else | refused with status 415 |

## Forms

A part of a form counts as a photograph if its bytes are a photograph, in base64 or not. A part also counts as a
photograph if its type is `image/*` or one of the binary types above, or if it has a file name. A text field does not
count as a photograph. An object that a script adds as `blob` with a type of its own, for example JSON about the
patient, does not count as a photograph either. A file field that the user left empty is ignored, but a file of 0 bytes
is refused. If the `Content-Type` names no boundary, the boundary is read from the first line of the body.

```sh
curl -F image=@left.jpg -F image=@right.jpg -F patient=17 localhost:8080/invocations
```

## JSON

| body | of clients for |
|---|---|
| `"BASE64"`, `["BASE64", …]` | this server |
| `{"instances": ["BASE64"]}`, `{"instances": [{"b64": "BASE64"}]}`, `{"instances": [{"image_bytes": {"b64": "BASE64"}}]}` | TensorFlow Serving, Vertex AI |
| `{"inputs": "BASE64"}` | Hugging Face |
| `{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["BASE64"]}]}` | the Open Inference Protocol |
| `{"image": "BASE64"}`, `{"images": ["BASE64", …]}`, `{"data": …}`, `{"b64": …}` | other servers |

In a JSON object, the member {names} holds the photographs, and no other
member is read. If a JSON object has none of these six members, the server reads the only member whose text is a
photograph. If two members of a JSON object may hold the photographs, the body is refused. Lists of numbers (pixels,
bytes) are refused.

Text in base64 may contain line breaks, may use the alphabet for URLs (`-` and `_`), and may lack padding. The text may
also begin with `data:image/jpeg;base64,`, or be enclosed in Python's `b'…'`. JSON may begin with a byte order mark, be
in UTF-16 as PowerShell writes it, or be encoded twice.

## What the answer says of a photograph

The JSON answer to one photograph has these fields at the top; the answer to several photographs has them in each entry
of `results`. A field is absent if the model's manifest gives no rule for it.

| field | what it says |
|---|---|
| `gradable` | whether the photograph is good enough to be graded; `ungradable_reason` and `ungradable_message` say why not |
| `unlike_training` | whether the photograph is unlike those that the grader was trained on (camera, colour, field, sharpness or disease), so that the grade may be wrong; if so, `unlike_training_message` says it in a sentence |
| `grade`, `label` | the ICDR grade from 0 to 4, and its name |
| `referable`, `referable_rule` | whether the eye should be referred, and by which rule |
| `referable_rates` | the sensitivity that the rule promises (`target_sensitivity`), its sensitivity and specificity in a test on new photographs (`tested`), and on the photographs that chose it |
| `screening` | which operating points flag the eye |
| `probabilities` | the probability of each grade |
| `at_prevalence` | the probabilities at the prevalence in the manifest, if it has one; no other field uses them |
| `note` | what else the reader should know about the file |

With `Accept: text/csv`, the last column is `unlike_training` (`0`, `1`, or empty without a grade), if the manifest has
the rule.

The limits on bodies, images, fields and values are in [SECURITY.md](../../SECURITY.md).
"""  # noqa: E501 - the lines of a page


def command_line() -> str:
    """Return the help of every command, as Markdown."""
    command = get_command(build_app())
    _list_commands_with_whole_sentences(command)
    context = command.make_context("drdeploy", [], resilient_parsing=True)
    return NOTE + get_docs_for_click(obj=command, ctx=context, name="drdeploy")


def _list_commands_with_whole_sentences(command: Any) -> None:
    """Let typer show each command's whole first paragraph, which it would otherwise cut off."""
    for child in getattr(command, "commands", {}).values():
        child.short_help = child.help.split("\n\n")[0].replace("\n", " ") if child.help else None
        _list_commands_with_whole_sentences(child)


def request_bodies() -> str:
    """Return the page on the bodies of requests."""
    from drdeploy.hosting.serving.json_body import NAMES
    from drdeploy.hosting.serving.media_types import RAW_TYPES

    types = ", ".join(f"`{one}`" for one in sorted(RAW_TYPES) if one)
    names = f"{', '.join(f'`{one}`' for one in NAMES[:-1])} or `{NAMES[-1]}`"
    return NOTE + REQUESTS.replace("{types}", types).replace("{names}", names)


def measurement_columns() -> str:
    """Return the page on the columns of ``measurements.csv``."""
    from drdeploy.study.measurements.measurement import SCHEMA
    from drdeploy.study.measurements.schema import ONE_PER_TRIAL, OPTIONAL

    intro = (
        "# measurements.csv\n\nOne row of `measurements.csv` is one invocation or one Batch "
        "Transform job. Warm-up requests and failed requests have rows too; `drdeploy report` "
        "says how many rows it left out, and why. The columns, in order:\n\n| column | type | "
        "unit | what it says |\n|---|---|---|---|\n"
    )
    rows = (
        f"| `{one.name}` | {one.type_in_plain_words} | {one.unit} "
        f"| {one.meaning}{_choices(one)} |\n"
        for one in SCHEMA
    )
    optional = ", ".join(f"`{one.name}`" for one in SCHEMA if OPTIONAL in one.rules)
    of_trial = ", ".join(f"`{one.name}`" for one in SCHEMA if ONE_PER_TRIAL in one.rules)
    rules = (
        "\nAn empty cell stands for a value that is not known. Times are ISO 8601 in UTC.\n\n"
        "`drdeploy report` and `drdeploy recommend` also read a file that another tool wrote. Such "
        f"a file may lack these columns: {optional}.\n\n"
        f"All rows of a trial must have the same values in these columns: {of_trial}.\n"
    )
    return NOTE + intro + "".join(rows) + rules


def _choices(column: CsvColumn) -> str:
    choices = ", ".join(f"`{one}`" for one in column.choices if one)
    return f" One of {choices}." if choices else ""


def contract_clauses() -> str:
    """Return the page on the clauses of ``drdeploy image conform``."""
    from drdeploy.hosting.conformance import CLAUSES, HostingKind, Severity

    intro = (
        "# Clauses of the hosting contract\n\n`drdeploy image conform` checks the clauses in the "
        "order of the table, and says for which kinds of hosting a container image is fit. The "
        "table says how important each clause is for a kind of hosting:\n\n- "
        f"`{Severity.MUST}`: an image that fails the clause is not fit for this kind of hosting "
        f"(exit status 1).\n- `{Severity.SHOULD}`: advice. An image that fails the clause works, "
        f"but its clients or operators are worse off.\n- `{Severity.OPTIONAL}`: for information."
        "\n- `-`: the clause does not apply to this kind of hosting.\n\nThe source `practice` "
        "means that the clause comes from containers that failed without it, and not from the "
        "documentation "
        f"of AWS.\n\n| clause | {' | '.join(HostingKind)} | what the clause requires | source |\n"
        f"|---|{'---|' * len(HostingKind)}---|---|\n"
    )
    rows = (
        f"| `{one.id}` | {' | '.join(one.severities.get(kind, '-') for kind in HostingKind)} | "
        f"{one.title} | {one.source} |\n"
        for one in CLAUSES
    )
    return NOTE + intro + "".join(rows)


LOCAL_SERVICE = """\
# What the local service serves

This page lists every operation that botocore {version} knows of five AWS services, and every member (field) of their
requests. For each, it says what the local service (`drdeploy local up`) does. The page is written from the tables by
which the local service decides.

- If the column *answer* says **served**, the local service carries out the operation, or the member has its effect. The
  values of a member are checked as AWS checks them.
- In all other rows, the local service refuses the operation or the member with status 4xx and with the sentence in the
  column *answer*. A member is nevertheless accepted if its value asks for nothing (`null`, `false`, an empty text, list
  or structure).

A dot separates a structure from its member (`STRUCTURE.MEMBER`), also if the structure is in a list. In a refusal, `[1]`
is the position in a list, and `NAME` and `VALUE` stand for what your request has.

| service | operations served | operations refused | members served | members refused |
|---|---|---|---|---|
"""  # noqa: E501 - the lines of a page
HOSTING_OPERATION = re.compile(
    r"Endpoint|InferenceComponent|(Create|Delete|Describe|List)Models?$|Tags$"
)
"""The operations of SageMaker that concern hosting; the others are listed only by name."""


def local_service() -> str:
    """Return the page on the operations and request fields that the local service supports."""
    import botocore

    from drdeploy.hosting.local.api.operation_coverage import SERVICES, list_operation_answers

    answers = {service: list_operation_answers(service) for service in SERVICES}
    counts = (_service_counts(service, found) for service, found in answers.items())
    sections = (_service_section(service, found) for service, found in answers.items())
    intro = LOCAL_SERVICE.replace("{version}", botocore.__version__)
    return NOTE + intro + "".join(counts) + "".join(sections)


def _service_counts(service: str, answers: list[OperationAnswer]) -> str:
    members = [member for one in answers for member in one.members]
    served = sum(not one.refusal for one in answers)
    kept = sum(not one.refusal or bool(one.served_values) for one in members)
    numbers = (served, len(answers) - served, kept, len(members) - kept)
    return f"| [`{service}`](#{service}) | {' | '.join(map(str, numbers))} |\n"


def _service_section(service: str, answers: list[OperationAnswer]) -> str:
    in_table = [
        one
        for one in answers
        if service != "sagemaker" or not one.refusal or HOSTING_OPERATION.search(one.name)
    ]
    others = [one for one in answers if one not in in_table]
    rows = (
        f"| `{one.name}` | "
        + (one.refusal or f"served: [its members](#{service}-{one.name.lower()})")
        + " |\n"
        for one in in_table
    )
    parts = [f"\n## {service}\n\n| operation | answer |\n|---|---|\n", *rows]
    if others:
        [sentence] = {one.refusal.replace(one.name, "NAME") for one in others}
        names = ", ".join(f"`{one.name}`" for one in others)
        parts.append(
            "\nThe following operations do not concern hosting. Each is refused with "
            f"“{sentence}”, in which `NAME` is the operation: {names}.\n"
        )
    for one in in_table:
        if not one.refusal:
            parts.append(f"\n### {service} {one.name}\n\n| member | answer |\n|---|---|\n")
            parts += (f"| `{member.path}` | {_answer(member)} |\n" for member in one.members)
    return "".join(parts)


def _answer(member: MemberAnswer) -> str:
    if not member.served_values:
        return member.refusal or "served"
    values = ", ".join(f"`{one}`" for one in member.served_values)
    return f"{values}: served. Any other value: {member.refusal}"


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
        "TrafficShape",
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
        "# The Python library\n\nThis page lists everything that `import drdeploy` offers, "
        "section by section. A name is imported when it is first used. If the packages of a name "
        "are not installed, the name raises [`MissingExtra`](#missingextra), which says what to "
        "install. [The worked page](../python.md) shows these names in use.\n"
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
    """Return the section of a public name: its signature and docstring, and a class's methods."""
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
    keyword_only = kinds == {inspect.Parameter.KEYWORD_ONLY}
    inherited = _list_inherited_fields(public) if isinstance(public, type) else {}
    parameters = _parameters(definition, keyword_only=keyword_only, inherited=inherited)
    return f"class {name}{parameters}" if isinstance(public, type) else f"{name}{parameters}"


def _list_inherited_fields(public: type) -> dict[str, ast.AnnAssign]:
    """Return the fields that a class inherits from its private base classes, by field name."""
    bases = [one for one in reversed(public.__mro__[1:]) if one.__name__.startswith("_")]
    return {
        ast.unparse(field.target): field
        for base in bases
        for field in _list_fields(ast.parse(textwrap.dedent(inspect.getsource(base))).body[0])
    }


def _list_fields(definition: Any) -> list[ast.AnnAssign]:
    return [one for one in definition.body if isinstance(one, ast.AnnAssign)]


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


def _parameters(
    node: Any,
    *,
    is_method: bool = False,
    keyword_only: bool = False,
    inherited: dict[str, ast.AnnAssign] | None = None,
) -> str:
    """Return the parameters of a function or a constructor, as they are in the source.

    ``inherited`` holds the fields that a class inherits from its private base classes.
    """
    if isinstance(node, ast.ClassDef):
        made = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
        if made is not None:
            return _parameters(made, is_method=True)
        own = {ast.unparse(one.target): one for one in _list_fields(node)}
        fields = [ast.unparse(one) for one in ((inherited or {}) | own).values()]
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
    """Turn a section such as ``Args:`` into a Markdown list, with one item for each name."""
    entries = re.split(r"^(?=\S)", body.strip(), flags=re.MULTILINE)
    lines = []
    for entry in filter(None, entries):
        flat = _inline(" ".join(entry.split()))
        lines.append(re.sub(r"^(\w+): ", r"- `\1`: ", flat) if ":" in flat else flat)
    return "\n".join(lines)


def _prose(text: str) -> str:
    """Turn paragraphs into Markdown; text that is indented after ``::`` becomes a Python block."""
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


BUDGETS = ("<!-- budgets: written by `make docs` -->\n", "<!-- end of budgets -->\n")


def security(page: str) -> str:
    """Return ``SECURITY.md`` with a new table of limits on what one request may use."""
    from drdeploy.hosting.serving.budgets import list_budget_facts, make_worker_budgets
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

    budgets = make_worker_budgets(Settings(), Capacity(workers=1, concurrency=1, threads=1))
    rows = (
        f"| `{one.name}` | {one.value} | {one.beyond} | {one.why} |\n"
        for one in list_budget_facts(budgets)
    )
    begin, end = BUDGETS
    before, _, rest = page.partition(begin)
    table = "| limit | default | beyond the limit | why |\n|---|---|---|---|\n" + "".join(rows)
    return before + begin + "\n" + table + "\n" + end + rest.partition(end)[2]


PAGES = {
    "command-line.md": command_line,
    "conformance.md": contract_clauses,
    "local-service.md": local_service,
    "measurements.md": measurement_columns,
    "python.md": python_library,
    "requests.md": request_bodies,
}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write())
        sys.stdout.write(f"wrote docs/reference/{name}\n")
    SECURITY.write_text(security(SECURITY.read_text()))
    sys.stdout.write("wrote the budgets in SECURITY.md\n")
