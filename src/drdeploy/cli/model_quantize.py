"""``drdeploy model quantize``: make a grader smaller, and test how much quality it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from drdeploy.cli.console import (
    err,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_notice,
)
from drdeploy.cli.options import (
    ChangedArchiveOption,
    JsonOption,
    NamesOption,
    SeedOption,
    refuse_options_without_effect,
    refuse_to_overwrite_inputs,
)
from drdeploy.files import write_json_file
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.units import MB


def quantize(
    context: typer.Context,
    artifact: Annotated[Path, typer.Argument(help="A model.tar.gz with an ONNX model in fp32.")],
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration",
            help="Folder of labelled photographs to calibrate on. If they have splits, only the "
            "split `train` is used.",
        ),
    ],
    *,
    precision: Annotated[
        Literal["int8", "bf16", "fp16"], typer.Option(help="Precision of the new model.")
    ] = "int8",
    validation: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Labelled photographs on which the two graders are compared; by default, the "
                "photographs of --calibration from sessions that the calibration did not use."
            )
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of --validation to use; by default, all photographs.")
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of photographs to calibrate on; at most half of the photographs of "
            "--calibration are used.",
        ),
    ] = 100,
    margin: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Largest acceptable loss in each measure of quality, as a share."
        ),
    ] = 0.02,
    seed: SeedOption = 0,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help=(
                "Write the model even if the verdict is `refused`. The manifest of a refused model "
                "records the refusal."
            ),
        ),
    ] = False,
    archive: ChangedArchiveOption = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Quantize a grader and compare it with the original.

    A quantized grader stores its weights with fewer bits. The quantized and the original grader
    grade the same photographs, and each measure of quality is compared, among them sensitivity and
    specificity of the decisions at each operating point. The quantized grader is `accepted` if it
    is 95 % certain that no measure has dropped by more than the margin (--margin). It is `refused`
    if a measure has dropped by more than the margin on these photographs. Otherwise it is
    `undecided`, because there are too few photographs to tell. The quantized grader gets its own
    temperature and operating points. A refused grader is written only with --force. If the grader
    is not written, the exit status is 1.

    For research use. Not a medical device.
    """
    from rich.progress import track

    from drdeploy.grader.quantization.quantize import path_of_quantized_archive
    from drdeploy.grader.quantization.quantize import quantize as quantize_model

    if validation is None:
        refuse_options_without_effect(
            context, ["split"], why="without --validation", remedy="add --validation"
        )
    target = archive or path_of_quantized_archive(artifact, precision)
    refuse_to_overwrite_inputs("--out", target, [artifact])
    outcome = quantize_model(
        artifact,
        calibration,
        target,
        precision=precision,
        validation=validation,
        split=split,
        images=images,
        margin=margin,
        seed=seed,
        force=force,
        own_names=names,
        track=lambda files: cast(
            "Any", track(files, "comparing", console=err, transient=True, total=len(files))
        ),
    )
    document = {"notice": RESEARCH_USE_NOTICE, "precision": precision, **outcome.document}
    report = target.with_name(target.name.removesuffix(".tar.gz") + "-quantization.json")
    write_json_file(report, document)
    if as_json:
        print_json(document)
    else:
        _print_quantization(document, report)
    for note in outcome.notes:
        print_note(note)
    print_note_on_photograph_names(own=names)
    if outcome.archive is None:
        raise typer.Exit(1)


def _print_quantization(document: dict[str, Any], report: Path) -> None:
    colour = {"accepted": "green", "refused": "red", "undecided": "yellow"}[document["verdict"]]
    print_line(f"{document['verdict']}: {document['reason']}", style=f"bold {colour}")
    smaller = document["reference_size_bytes"] / document["size_bytes"]
    rows = {
        "compared on": document["judged_on"],
        "size": f"{document['size_bytes'] / MB:.2f} MB, {smaller:.1f} times smaller",
        **{
            f"change of {test['measure']}": _format_change_with_bound(test)
            for test in document["tests"]
        },
        "grades changed": f"{len(document['changed'])} of {document['n']}",
        "new misses of grade >= 3": str(len(document["new_misses"])),
        "ECE": " to ".join("-" if e is None else f"{e:.3f}" for e in document["ece"].values()),
        "details": str(report),
    }
    print_facts(rows.items())
    print_notice()


def _format_change_with_bound(test: dict[str, Any]) -> str:
    if test["change"] is None:
        return "cannot be computed"
    bound = "none" if test["lower_bound_95"] is None else f"{test['lower_bound_95']:+.4f}"
    return f"{test['change']:+.4f}, one-sided 95 % bound {bound}"
