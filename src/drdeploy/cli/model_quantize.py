"""``drdeploy model quantize``: smaller weights, and whether they lose diseased eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from drdeploy.cli.console import err, print_facts, print_json, print_line, print_notice
from drdeploy.cli.figures import in_full
from drdeploy.cli.options import JsonOption, SeedOption
from drdeploy.files import write_json
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.units import MB


def quantize(
    artifact: Annotated[Path, typer.Argument(help="A model.tar.gz with an ONNX model in fp32.")],
    calibration: Annotated[
        Path, typer.Option("--calibration", help="Labelled photographs to calibrate on.")
    ],
    *,
    precision: Annotated[
        Literal["int8", "bf16", "fp16"], typer.Option(help="Precision of the new model.")
    ] = "int8",
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Labelled photographs to compare on. By default, the rest of --calibration."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of --validation. All of it by default.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many photographs to calibrate on.")] = 100,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Acceptable loss of sensitivity, as a share.")
    ] = 0.02,
    seed: SeedOption = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write a refused model too; its manifest says so.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option("--out", help="The archive to write. By default, beside the artifact."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize a grader and compare it with the original.

    The comparison is made photograph by photograph. The new model is accepted, refused, or
    undecided where there are too few photographs to tell. A refused one is not written (exit
    status 1), unless forced.

    For research use. Not a medical device.
    """
    from rich.progress import track

    from drdeploy.grader.quantization.quantize import quantize as quantize_model
    from drdeploy.grader.quantization.quantize import quantized_path

    target = archive or quantized_path(artifact, precision)
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
        track=lambda files: cast(
            "Any", track(files, "comparing", console=err, transient=True, total=len(files))
        ),
    )
    document = {"notice": RESEARCH_USE_NOTICE, "precision": precision, **outcome.document}
    report = target.with_name(target.name.removesuffix(".tar.gz") + "-quantization.json")
    write_json(report, document)
    if as_json:
        print_json(document)
    else:
        _print(document, report)
    if outcome.archive is None:
        raise typer.Exit(1)


def _print(document: dict[str, Any], report: Path) -> None:
    colour = {"accepted": "green", "refused": "red", "undecided": "yellow"}[document["verdict"]]
    print_line(f"{document['verdict']}: {document['reason']}", style=f"bold {colour}")
    smaller = document["reference_size_bytes"] / document["size_bytes"]
    rows = {
        "compared on": document["judged_on"],
        "size": f"{document['size_bytes'] / MB:.2f} MB, {smaller:.1f} times smaller",
        "change of kappa": in_full(document["kappa_change"]),
        "sensitivity, grade >= 2": _change(document["sensitivity_change"]["referable"]),
        "sensitivity, grade >= 3": _change(document["sensitivity_change"]["vision_threatening"]),
        "grades changed": f"{len(document['changed'])} of {document['n']}",
        "new misses of grade >= 3": str(len(document["new_misses"])),
        "ECE": " to ".join("-" if e is None else f"{e:.3f}" for e in document["ece"].values()),
        "details": str(report),
    }
    print_facts(rows.items())
    print_notice()


def _change(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return in_full(rate)
    return (
        f"{rate['value']:+.3f}, one-sided 95 % bound {rate['lower_bound_95']:+.4f} "
        f"({rate['gained']} gained, {rate['lost']} lost of {rate['n']})"
    )
