"""``drdeploy model quantize``: smaller weights, and a verdict on what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.figures import shown
from drdeploy.cli.options import JsonOption
from drdeploy.files import write_json
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.units import MB


def quantize(
    artifact: Annotated[Path, typer.Argument(help="An ONNX archive in fp32.")],
    calibration: Annotated[
        Path, typer.Option("--calibration", help="Fundus photographs to take the ranges from.")
    ],
    *,
    precision: Annotated[
        Literal["int8", "bf16", "fp16"], typer.Option(help="Of the new model.")
    ] = "int8",
    validation: Annotated[
        Path | None,
        typer.Option(help="Labelled photographs to judge by; the rest of --calibration if absent."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split of --validation; all of it if absent.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Photographs to calibrate on.")] = 100,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Loss of sensitivity that is acceptable.")
    ] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the bootstrap.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if it is refused; its manifest says so.")
    ] = False,
    archive: Annotated[
        Path | None, typer.Option("--out", help="Where to write; beside the artifact if absent.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize a grader and compare it with the original, photograph by photograph.

    Accepted, refused, or undecided for too few photographs. A refused model is not written
    (exit status 1) unless forced. For research use. Not a medical device.
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
            "Any", track(files, "judging", console=err, transient=True, total=len(files))
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
    out.print(f"[bold {colour}]{document['verdict']}[/]: ", end="")
    out.print(document["reason"], markup=False, highlight=False)
    smaller = document["reference_size_bytes"] / document["size_bytes"]
    rows = {
        "judged on": document["judged_on"],
        "size": f"{document['size_bytes'] / MB:.2f} MB, {smaller:.1f} times smaller",
        "change of kappa": shown(document["kappa_change"]),
        "sensitivity, grade >= 2": _change(document["sensitivity_change"]["referable"]),
        "sensitivity, grade >= 3": _change(document["sensitivity_change"]["vision_threatening"]),
        "grades changed": f"{len(document['changed'])} of {document['n']}",
        "new misses of grade >= 3": str(len(document["new_misses"])),
        "ECE": " to ".join("-" if e is None else f"{e:.3f}" for e in document["ece"].values()),
        "details": str(report),
    }
    for name, value in rows.items():
        out.print(f"  {name:26} {value}", markup=False, highlight=False, soft_wrap=True)
    err.print(RESEARCH_USE_NOTICE, style="yellow")


def _change(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return shown(rate)
    return (
        f"{rate['value']:+.3f}, one-sided 95 % bound {rate['lower_bound_95']:+.4f} "
        f"({rate['gained']} gained, {rate['lost']} lost of {rate['n']})"
    )
