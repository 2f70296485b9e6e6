"""``drdeploy artifact``: pack a model, inspect an archive, verify it."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer

from drdeploy.cli import push
from drdeploy.cli.console import err, print_facts, print_json, print_line
from drdeploy.cli.options import JsonOption
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
    """Several numbers in one option, separated by commas: so the first may be negative."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, count: int) -> Self:
        """Read exactly ``count`` numbers.

        Raises:
            typer.BadParameter: There are more, fewer, or something else.
        """
        try:
            numbers = cls(float(part) for part in text.split(","))
        except ValueError:
            numbers = cls()
        if len(numbers) != count:
            raise typer.BadParameter(f"{text!r} is not {count} numbers separated by commas.")
        return numbers


def _two(text: str) -> Numbers:
    return Numbers.parse(text, 2)


def _three(text: str) -> Numbers:
    return Numbers.parse(text, 3)


@app.command()
def pack(
    model: Annotated[
        Path, typer.Argument(help="A SavedModel's folder, an .onnx or a .keras file.", exists=True)
    ],
    *,
    archive: Annotated[
        Path, typer.Option("--out", help="The archive to write.", dir_okay=False)
    ] = Path("model.tar.gz"),
    name: Annotated[
        str, typer.Option(help="Name of the model. By default, that of its file.")
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
        Literal["probabilities", "logits"], typer.Option(help="What the model answers with.")
    ] = "probabilities",
    transform: Annotated[
        Path | None,
        typer.Option(help="A JSON or TOML file with the preprocessing.", dir_okay=False),
    ] = None,
    like: Annotated[
        str, typer.Option(help="Preprocess as this network expects, for example VGG19.")
    ] = "",
    height_px: Annotated[
        int | None, typer.Option(help="Height of the model's input, in pixels.", min=1)
    ] = None,
    width_px: Annotated[
        int | None, typer.Option(help="Width of the model's input, in pixels.", min=1)
    ] = None,
    crop: Annotated[
        Literal["none", "field_of_view"] | None,
        typer.Option(help="What to crop a photograph to first."),
    ] = None,
    value_range: Annotated[
        Numbers | None,
        typer.Option(
            parser=_two, metavar="LOW,HIGH", help="What the pixel values 0 and 255 are scaled to."
        ),
    ] = None,
    channel_order: Annotated[
        Literal["rgb", "bgr"] | None, typer.Option(help="Order of the colour channels.")
    ] = None,
    mean: Annotated[
        Numbers | None,
        typer.Option(
            parser=_three, metavar="A,B,C", help="Subtracted from each channel, after the scaling."
        ),
    ] = None,
    std: Annotated[
        Numbers | None,
        typer.Option(parser=_three, metavar="A,B,C", help="Each channel is divided by it, last."),
    ] = None,
    no_gradability: Annotated[
        bool,
        typer.Option(
            "--no-gradability",
            help="With --icdr: also grade photographs that are too poor to grade.",
        ),
    ] = False,
    notes: Annotated[
        str, typer.Option(help="Notes on where the model comes from, for the manifest.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Pack a model for SageMaker: a model.tar.gz with a manifest.

    Any image classifier will do. With --icdr it is a grader of diabetic retinopathy, and
    photographs that are too poor to grade are not graded.
    """
    from drdeploy.grader.artifacts import Provenance
    from drdeploy.grader.artifacts import pack as pack_artifact
    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
    from drdeploy.grader.grading import ICDR_CLASSES

    if icdr and classes:
        raise InvalidInput("Both --classes and --icdr name the classes", remedy="Give one of them")
    names = tuple(part.strip() for part in classes.split(",") if part)
    changes = {
        "height_px": height_px,
        "width_px": width_px,
        "crop": crop,
        "value_range": value_range,
        "channel_order": channel_order,
        "mean": mean,
        "std": std,
    }
    with _as_packable(model) as source:
        manifest = pack_artifact(
            source,
            archive,
            name=name or model.stem,
            architecture=architecture,
            weights=weights,
            precision=precision,
            classes=ICDR_CLASSES if icdr else names,
            output=output,
            transform=_transform(transform, like, changes),
            gradability=GradabilityLimits() if icdr and not no_gradability else None,
            provenance=Provenance(notes=notes),
        )
    _show(archive, manifest, as_json=as_json)


@app.command()
def inspect(archive: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Show what an archive's manifest says. The files are not checked: see verify."""
    from drdeploy.grader.artifacts import inspect as inspect_archive

    _show(archive, inspect_archive(archive), as_json=as_json)


@app.command()
def verify(archive: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Check every file of an archive against its manifest."""
    from drdeploy.grader.artifacts import verify as verify_archive

    manifest = verify_archive(archive)
    if as_json:
        print_json({"archive": str(archive), "verified": True, "files": len(manifest.files)})
        return
    print_line(f"{archive}: {len(manifest.files)} files verified")


def _transform(file: Path | None, like: str, changes: dict[str, Any]) -> FundusTransform:
    """Read the preprocessing of a file or a network, and change what single options say."""
    import msgspec

    from drdeploy.grader.artifacts import read_transform
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.networks.architectures import find_architecture

    if file is not None and like:
        raise InvalidInput(
            "Both --transform and --like say how to preprocess", remedy="Give one of them"
        )
    base = FundusTransform()
    if file is not None:
        base = read_transform(file)
    elif like:
        base = find_architecture(like).transform
    given = {name: value for name, value in changes.items() if value is not None}
    return msgspec.structs.replace(base, **given)


@contextmanager
def _as_packable(model: Path) -> Iterator[Path]:
    """Yield the model, a .keras file as a SavedModel in a temporary folder."""
    if model.suffix != ".keras":
        yield model
        return
    from drdeploy.grader.networks.convert import convert_keras_file

    with tempfile.TemporaryDirectory(prefix="drdeploy-keras-") as folder:
        with err.status(f"Converting {model.name} to a SavedModel"):
            converted = convert_keras_file(model, Path(folder))
        yield converted


def _show(archive: Path, manifest: ModelManifest, *, as_json: bool) -> None:
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
    facts["classes"] = ", ".join(manifest.classes) or "not named"
    facts["files"] = f"{len(manifest.files)}, {size_bytes / MB:.1f} MB"
    print_facts(facts.items())
    for part in ("transform", "gradability", "clinical", "quantization"):
        if fields[part]:
            print_line(f"{part}:", indent=2)
            print_facts(_facts(fields[part]), indent=4)
    if manifest.provenance.notes:
        print_line(manifest.provenance.notes, style="yellow", to=err)


def _facts(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for field, value in fields.items():
        if field == "operating_points":
            for point in value:
                yield f"grade >= {point['at_or_above']}, {point['name']}", _as_text(point)
        elif field == "reference_digest":
            yield field, f"{value[:16]}…"
        else:
            yield field, str(value)


def _as_text(point: dict[str, Any]) -> str:
    decision = f"from {point['threshold']:g}"
    rates = [_rate(name, point[name]) for name in ("sensitivity", "specificity")]
    return "; ".join([decision, *rates])


def _rate(name: str, rate: dict[str, Any]) -> str:
    return f"{name} {rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f}, n = {rate['n']})"
