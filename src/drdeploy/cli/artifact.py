"""``drdeploy artifact``: pack a model into an archive, and inspect or verify an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from drdeploy.cli import push
from drdeploy.cli.console import (
    err,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_note_on_unused_artifact_files,
    print_notice,
)
from drdeploy.cli.options import (
    ChangedArchiveOption,
    JsonOption,
    RuntimeOption,
    SeedOption,
    parse_prevalence,
    refuse_options_without_effect,
    refuse_to_overwrite_inputs,
)
from drdeploy.errors import InvalidInput
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.fundus.transform import FundusTransform

app = typer.Typer(no_args_is_help=True)
app.command("push")(push.push_artifact)

ArchiveArgument = Annotated[Path, typer.Argument(help="A model.tar.gz.", dir_okay=False)]


class Numbers(tuple[float, ...]):
    """The value of an option that takes several numbers separated by commas."""

    __slots__ = ()


def _parse_numbers(text: str, count: int) -> Numbers:
    try:
        numbers = Numbers(float(part) for part in text.split(","))
    except ValueError:
        numbers = Numbers()
    if len(numbers) != count:
        raise typer.BadParameter(f"{text!r} is not {count} numbers separated by commas.")
    return numbers


def _parse_two_numbers(text: str) -> Numbers:
    return _parse_numbers(text, 2)


def _parse_three_numbers(text: str) -> Numbers:
    return _parse_numbers(text, 3)


@app.command()
def pack(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(help="A SavedModel's folder, or an .onnx, .keras or .h5 file.", exists=True),
    ],
    *,
    archive: Annotated[
        Path, typer.Option("--out", help="The archive to write.", dir_okay=False)
    ] = Path("model.tar.gz"),
    name: Annotated[
        str, typer.Option(help="Name of the model; by default, the name of its file.")
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="Names of the classes in the order of the model's outputs, separated by commas."
        ),
    ] = "",
    icdr: Annotated[
        bool, typer.Option("--icdr", help="The classes are the five ICDR grades of retinopathy.")
    ] = False,
    architecture: Annotated[
        str, typer.Option(help="The network's name, for the manifest.")
    ] = "unknown",
    weights: Annotated[
        Literal["trained", "imagenet", "random", "unknown"],
        typer.Option(help="Where the weights come from."),
    ] = "unknown",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"], typer.Option(help="Precision of the weights.")
    ] = "fp32",
    output: Annotated[
        Literal["probabilities", "logits"],
        typer.Option(help="Whether the model answers with probabilities or with logits."),
    ] = "probabilities",
    output_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The output with the predictions, if the model has several outputs.",
        ),
    ] = None,
    input_layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        typer.Option(
            help=(
                "Order of the axes of the model's input. The letters mean "
                "images (n), channels (c), height (h) and width (w). By default, the order is "
                "read from the shape of the model's input, or else found by trying."
            )
        ),
    ] = None,
    transform: Annotated[
        Path | None,
        typer.Option(help="A JSON or TOML file with the preprocessing.", dir_okay=False),
    ] = None,
    like: Annotated[
        str, typer.Option(help="Preprocess as the named network expects, for example VGG19.")
    ] = "",
    height_px: Annotated[
        int | None,
        typer.Option(
            help=(
                "Height of the model's input, in pixels; by default, the height that the "
                "model states."
            ),
            min=1,
        ),
    ] = None,
    width_px: Annotated[
        int | None,
        typer.Option(
            help=(
                "Width of the model's input, in pixels; by default, the width that the model "
                "states."
            ),
            min=1,
        ),
    ] = None,
    crop: Annotated[
        Literal["none", "field_of_view"] | None,
        typer.Option(
            help="Which part of a photograph to cut out before it is scaled; by default, that of "
            "--transform or --like, otherwise field_of_view."
        ),
    ] = None,
    value_range: Annotated[
        Numbers | None,
        typer.Option(
            parser=_parse_two_numbers,
            metavar="LOW,HIGH",
            help="The two values to which the pixel values 0 and 255 are scaled; by default, those "
            "of --transform or --like, otherwise -1,1.",
        ),
    ] = None,
    channel_order: Annotated[
        Literal["rgb", "bgr"] | None,
        typer.Option(
            help="Order of the colour channels; by default, that of --transform or --like, "
            "otherwise rgb."
        ),
    ] = None,
    mean: Annotated[
        Numbers | None,
        typer.Option(
            parser=_parse_three_numbers,
            metavar="A,B,C",
            help="The value that is subtracted from each channel after the scaling; by default, "
            "that of --transform or --like, otherwise 0.",
        ),
    ] = None,
    std: Annotated[
        Numbers | None,
        typer.Option(
            parser=_parse_three_numbers,
            metavar="A,B,C",
            help="The value by which each channel is divided after the subtraction; by default, "
            "that of --transform or --like, otherwise 1.",
        ),
    ] = None,
    no_gradability: Annotated[
        bool,
        typer.Option(
            "--no-gradability",
            help="With --icdr: grade every photograph, even if its quality is too poor.",
        ),
    ] = False,
    notes: Annotated[
        str, typer.Option(help="Notes on where the model comes from, for the manifest.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Pack a model and its manifest as a model.tar.gz.

    Any image classifier can be packed. With --icdr, the model is a grader of diabetic retinopathy,
    and gives no grade to a photograph that is too dark, too blurred or too small. As a test, the
    command loads the model and classifies a few images before it packs the model. A model that
    fails the test is refused. If the library that runs the model is not installed, the model is
    packed without the test, and a note says so. A Keras file always needs TensorFlow.
    """
    from drdeploy.grader.artifacts import ModelDescription, Provenance
    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
    from drdeploy.grader.grading import ICDR_CLASSES
    from drdeploy.grader.importing import pack_model

    refuse_to_overwrite_inputs("--out", archive, (model, transform))
    if icdr and classes:
        raise InvalidInput(
            "--classes and --icdr cannot be combined",
            remedy="Give --icdr for the five ICDR grades, or --classes for other classes",
        )
    if not icdr:
        refuse_options_without_effect(
            context,
            ["no_gradability"],
            why="without --icdr: only a grader of retinopathy checks whether it can grade a "
            "photograph",
            remedy="add --icdr",
        )
    names = _parse_class_names(classes)
    changes = {
        "height_px": height_px,
        "width_px": width_px,
        "crop": crop,
        "value_range": value_range,
        "channel_order": channel_order,
        "mean": mean,
        "std": std,
    }
    chosen = _choose_preprocessing(transform, like, changes)
    is_size_said = transform is not None or bool(like)
    size_px = (chosen.height_px, chosen.width_px) if is_size_said else (height_px, width_px)
    description = ModelDescription(
        name=name or model.stem,
        architecture=architecture,
        weights=weights,
        precision=precision,
        classes=ICDR_CLASSES if icdr else names,
        output=output,
        output_name=output_name,
        input_layout=input_layout,
        transform=chosen,
        gradability=GradabilityLimits() if icdr and not no_gradability else None,
        provenance=Provenance(notes=notes),
    )
    with err.status(f"Trying {model.name}"):
        packed = pack_model(model, archive, description, size_px=size_px)
    for note in packed.notes:
        print_note(note)
    _show_manifest(archive, packed.manifest, as_json=as_json)


@app.command()
def inspect(archive: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Show the manifest of an archive.

    The command only reads the manifest. To check the other files, use `drdeploy artifact verify`.
    """
    from drdeploy.grader.artifacts import read_manifest_in_archive as inspect_archive

    _show_manifest(archive, inspect_archive(archive), as_json=as_json)


@app.command("set-prevalence")
def set_prevalence(
    context: typer.Context,
    artifact: Annotated[
        Path, typer.Argument(help="A model.tar.gz, or the folder it was extracted to.")
    ],
    *,
    prevalence: Annotated[
        str,
        typer.Option(
            metavar="SHARE|estimate",
            help=(
                "Share of eyes with grade 2 or worse where the grader will be used, for example "
                "0.1. With `estimate`, the share is estimated from ungraded photographs."
            ),
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of at least 50 ungraded photographs from one clinic, for `estimate`."
        ),
    ] = None,
    runtime: RuntimeOption = None,
    seed: SeedOption = 0,
    archive: ChangedArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Adjust a grader's probabilities to a clinic's prevalence.

    No graded photographs are needed. Each answer then also holds the probabilities at the given
    prevalence, and `drdeploy grade` shows them. The grade and the decisions stay as they are, and
    so do their sensitivity and specificity.

    For research use. Not a medical device.
    """
    import msgspec
    from rich.progress import track

    from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
    from drdeploy.grader.recalibration import set_prevalence as set_prevalence_of_grader

    share = parse_prevalence(prevalence)
    if share != "estimate":
        refuse_options_without_effect(
            context,
            ["runtime", "seed"],
            why="with a stated prevalence, for which no photograph is graded",
            remedy="give --prevalence estimate",
        )
    outcome = set_prevalence_of_grader(
        artifact,
        share,
        archive,
        data=data,
        runtime=runtime,
        seed=seed,
        track=lambda files: cast(
            "Any", track(files, "grading", console=err, transient=True, total=len(files))
        ),
    )
    found = outcome.assumed
    if as_json:
        print_json({
            "notice": RESEARCH_USE_NOTICE,
            "archive": str(outcome.archive),
            "during_calibration": outcome.during_calibration,
            "prevalence": msgspec.to_builtins(found),
            "notes": list(outcome.notes),
        })  # fmt: skip
    else:
        interval = (
            ""
            if found.low is None or found.high is None
            else f" ({found.low:.1%} to {found.high:.1%}, n = {found.photographs})"
        )
        print_facts([
            ("share of grade >= 2 during calibration", f"{outcome.during_calibration:.1%}"),
            ("share of grade >= 2 now", f"{found.prevalence:.1%}{interval}, {found.how}"),
            ("artifact", str(outcome.archive)),
        ])  # fmt: skip
        print_notice()
    for note in outcome.notes:
        print_note(note)


@app.command()
def verify(archive: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Check every file of an archive against its manifest."""
    from drdeploy.grader.artifacts import read_contents

    contents = read_contents(archive)
    count = len(contents.manifest.files)
    if as_json:
        found = {"verified": True, "files": count, "unused_files": contents.unused}
        print_json({"archive": str(archive), **found})
        return
    print_line(f"{archive}: {count} {'file' if count == 1 else 'files'} verified")
    print_note_on_unused_artifact_files(contents.unused)


def _parse_class_names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",")) if text else ()
    if "" in names or len(set(names)) < len(names):
        raise InvalidInput(
            f"A class of {text!r} has no name, or the name of another class",
            where="--classes",
            remedy="Give a name of its own for each output of the model, separated by commas",
        )
    return names


def _choose_preprocessing(file: Path | None, like: str, changes: dict[str, Any]) -> FundusTransform:
    """Return the preprocessing of photographs that the options of ``pack`` describe.

    It comes from a file (``--transform``) or from a network (``--like``). Other options change
    single values.
    """
    import msgspec

    from drdeploy.grader.artifacts import read_transform_file
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.networks.architectures import find_architecture

    if file is not None and like:
        raise InvalidInput(
            "--transform and --like cannot be combined",
            remedy="Give --transform for a file, or --like for the preprocessing of a network",
        )
    base = FundusTransform()
    if file is not None:
        base = read_transform_file(file)
    elif like:
        base = find_architecture(like).transform
    given = {name: value for name, value in changes.items() if value is not None}
    return msgspec.structs.replace(base, **given)


def _show_manifest(archive: Path, manifest: ModelManifest, *, as_json: bool) -> None:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    if as_json:
        print_json({"archive": str(archive), **fields})
        return
    size_bytes = sum(file.size_bytes for file in manifest.files)
    print_line(f"{archive}: {manifest.name}", style="bold")
    facts = {
        field: str(fields[field])
        for field in ("architecture", "model_format", "entry", "precision", "weights", "output")
    }
    facts |= {field: fields[field] for field in ("output_name", "input_layout") if fields[field]}
    facts["classes"] = ", ".join(manifest.classes) or "not named"
    facts["files"] = f"{len(manifest.files)}, {size_bytes / MB:.1f} MB"
    print_facts(facts.items())
    for part in _PARTS_OF_MANIFEST:
        if fields[part]:
            print_line(f"{part}:", indent=2)
            print_facts(_list_facts_of_manifest(fields[part]), indent=4)
    if manifest.provenance.notes:
        print_line(manifest.provenance.notes, style="yellow", to=err)


_PARTS_OF_MANIFEST = (
    "transform",
    "gradability",
    "familiarity",
    "clinical",
    "quantization",
    "recalibration",
    "prevalence",
)
_LISTS_FOR_PROGRAMS = ("means", "directions", "adapted_to")
"""Long lists that only ``--json`` shows: the numbers of the rule that recognises photographs unlike
the training photographs, and the digests of a clinic's photographs.
"""


def _list_facts_of_manifest(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for field, value in fields.items():
        if field == "operating_points":
            yield from map(_describe_operating_point, value)
        elif field in _LISTS_FOR_PROGRAMS:
            continue
        elif field in {"reference_digest", "original_digest"}:
            yield field, f"{value[:16]}…"
        else:
            yield field, str(value)


def _describe_operating_point(point: dict[str, Any]) -> tuple[str, str]:
    """Return the name of an operating point, and its threshold, promise and rates."""
    parts = [f"from {point['threshold']:g}"]
    if point["target_sensitivity"] is not None:
        parts.append(f"promised sensitivity {point['target_sensitivity']:g}")
    if (tested := point["tested"]) is not None:
        parts.append(f"on {tested['on']}: {_describe_rates(tested)}")
    parts.append(f"when chosen: {_describe_rates(point)}")
    return f"grade >= {point['at_or_above']}, {point['name']}", "; ".join(parts)


def _describe_rates(rates: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {rates[name]['value']:.3f} ({rates[name]['low']:.3f} to "
        f"{rates[name]['high']:.3f}, n = {rates[name]['n']})"
        for name in ("sensitivity", "specificity")
    )
