"""``crossmodalseg segment``: one case, or a table of cases, from files to segmentations."""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CrossModalSegLib.atomic import output_errors
from CrossModalSegLib.commands.case_table import read_case_table
from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.options import add_orientation_option, given_path, paths_by_modality
from CrossModalSegLib.commands.shared_cases import (
    WHOLE,
    add_lease_option,
    add_part_option,
    print_outcomes,
    seconds_of,
    work_through,
)
from CrossModalSegLib.errors import InputError, OutputError
from CrossModalSegLib.plurals import some_of
from CrossModalSegLib.protocol import Progress
from CrossModalSegLib.staging import clear_left_behind

if TYPE_CHECKING:
    from rich.console import Console

    from CrossModalSegLib.inference.case_output import OutputOptions
    from CrossModalSegLib.inference.inference import Segmenter

LARGEST_UNPACKED_BYTES = 20_000_000_000  # of a study
WIDTH_OF_FILES = 140  # of tables that do not go to a terminal
FORMATS = ("seg.nrrd", "nii.gz", "dicom-seg")

EXAMPLES = """examples:
  crossmodalseg segment --input T1w=t1.nii.gz --input T2w=t2.nii.gz --output result
  crossmodalseg segment --study study.zip --format dicom-seg --output result
  crossmodalseg segment --cases cases.csv --output results

cases.csv has the column "case" and one column per modality with paths, which may be relative to the table; an empty
cell is an absent modality. Results go to OUTPUT/<case>, what came of each case to OUTPUT/results.csv. Cases that are
done are not repeated: run the same command again to go on, or run it several times at once, on one machine or on many,
and they share the cases. Exit code 1: some cases failed.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "segment",
        help="segment the two scans of a patient",
        description="Segments a patient's two scans together, each on its own grid. One scan alone works too.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="MODALITY=PATH",
        help="a volume, a folder with one DICOM series, or FOLDER#UID for one of several",
    )
    parser.add_argument(
        "--study",
        type=given_path,
        metavar="FOLDER_OR_ZIP",
        help="a DICOM study instead of --input: the model's scans are found in it, and all series are listed",
    )
    parser.add_argument("--cases", type=given_path, metavar="TABLE.csv", help="many cases instead of --input")
    parser.add_argument("--output", type=given_path, required=True, metavar="FOLDER", help="folder for the results")
    add_case_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    add_part_option(parser)


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """How cases are segmented, whoever does it."""
    parser.add_argument("--bundle", default="brain-mr-pair", metavar="NAME_OR_FOLDER", help="default: brain-mr-pair")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of the segmentations")
    parser.add_argument(
        "--seg-type",
        choices=("binary", "labelmap"),
        default="binary",
        help="with dicom-seg: one bit per voxel and structure, which all viewers read, or the compact label map",
    )
    parser.add_argument(
        "--uncertainty-map", action="store_true", help="with dicom-seg: write the uncertainty as a parametric map too"
    )
    parser.add_argument(
        "--structure-set",
        action="store_true",
        help="with dicom-seg: write the contours as an RT Structure Set too, for radiotherapy",
    )
    parser.add_argument(
        "--quick-check",
        action="store_true",
        help="do not look into the scans beforehand for displacement and swapped or unknown contrasts (up to 3 s)",
    )
    parser.add_argument("--save-probabilities", action="store_true", help="write class probabilities (.npz) as well")
    add_orientation_option(parser)
    add_lease_option(parser)


def run(args: argparse.Namespace) -> int:
    """Segment; returns 0, or 1 when some cases of a table failed. Raises CrossModalSegError for bad input."""
    if [bool(args.input), bool(args.cases), bool(args.study)].count(True) != 1:
        message = "give one of --input, --study and --cases"
        raise InputError("usage", message, "see crossmodalseg segment --help")
    if args.part != WHOLE and not args.cases:
        raise InputError("usage", "--part is of a table", "give it with --cases")
    cases = read_case_table(args.cases) if args.cases else {}
    inputs = paths_by_modality(args.input)

    from CrossModalSegLib.bundles.bundle import load_bundle
    from CrossModalSegLib.inference.case_output import OutputOptions
    from CrossModalSegLib.inference.contents import look_into
    from CrossModalSegLib.inference.inference import Segmenter

    segmenter = Segmenter(load_bundle(args.bundle), args.device)
    look = None if args.quick_check else look_into
    options = OutputOptions(
        args.format,
        args.save_probabilities,
        args.overwrite,
        look,
        args.assume_orientation,
        args.seg_type,
        args.uncertainty_map,
        structure_set=args.structure_set,
    )
    if args.cases:
        return _run_table(segmenter, cases, args, options)
    with ExitStack() as unpacked_study:
        if args.study:
            inputs = _scans_of(args.study, segmenter, unpacked_study)
        report = _segment(segmenter, inputs, args.output, options)
    _print_summary(report, args.output)
    return 0


def _scans_of(study: Path, segmenter: "Segmenter", stack: ExitStack) -> dict[str, Path]:
    """The scans of a study by modality; what was chosen and what was not goes to stderr."""
    from CrossModalSegLib.imaging.dicom_tree import scan_tree
    from CrossModalSegLib.imaging.zip_files import unpacked
    from CrossModalSegLib.pacs.pair import find_pair

    folder = stack.enter_context(unpacked(study, LARGEST_UNPACKED_BYTES))
    pair = find_pair(scan_tree(folder), segmenter.bundle.modalities, segmenter.bundle.modality_aliases)
    for candidate in pair.candidates:
        print(candidate, file=sys.stderr)
    return {name: Path(str(series)) for name, series in pair.scans.items()}


def _segment(segmenter: "Segmenter", inputs: dict[str, Path], output: Path, options: "OutputOptions") -> dict[str, Any]:
    """Segment one case with a progress bar on stderr, where that is a terminal."""
    from CrossModalSegLib.inference.case_output import segment_case

    with Display(lines=False) as show:
        return segment_case(
            segmenter,
            inputs,
            output,
            options,
            lambda stage, fraction: show.progress(Progress("", stage, fraction, fraction)),
        )


def _run_table(
    segmenter: "Segmenter", cases: dict[str, dict[str, Path]], args: argparse.Namespace, options: "OutputOptions"
) -> int:
    """Segment every case of the part that is not done; a failure is noted and the rest goes on."""

    def result(case: str) -> float | None:
        folder = args.output / case
        return seconds_of(folder) if _is_done(segmenter, cases[case], folder, options) else None

    def make(case: str) -> float:
        report = _segment(segmenter, cases[case], args.output / case, options)
        _print_warnings(report)
        return float(sum(report["seconds"].values()))

    outcomes, made = work_through(cases, args, result, make)
    print_outcomes(_console(), outcomes, made)
    return int(any(outcome.state == "failed" for outcome in outcomes.values()))


def _is_done(segmenter: "Segmenter", inputs: dict[str, Path], folder: Path, options: "OutputOptions") -> bool:
    """Whether the result is there; what a killed run has left of it is put right first.

    Raises OutputError ``other-result`` where it is a result of another model, of other scans or with other options, or
    where a segmentation of it is gone.
    """
    from CrossModalSegLib.inference.case_output import made_of, segmentation_name
    from CrossModalSegLib.inference.result_origin import refuse_other_result

    report = folder / "report.json"
    with output_errors(folder):
        clear_left_behind(folder.resolve())
        if not report.is_file():
            return False
    try:
        wanted = made_of(segmenter.bundle, inputs, options)
    except InputError:  # scans that are gone by now
        return True
    refuse_other_result(report, wanted)
    gone = [name for modality in inputs if not (folder / (name := segmentation_name(modality, options))).is_file()]
    if gone:
        raise OutputError("other-result", f"{folder} lacks {some_of(gone)}", "use --overwrite, or put it back")
    return True


def _print_summary(report: dict[str, Any], output: Path) -> None:
    """Volumes, confidence and agreement per structure on stdout; warnings of the preflight on stderr."""
    from rich.table import Table

    _print_warnings(report)
    modalities = list(report["structures"][0]["volume_ml"])
    columns = [f"{modality} {what}" for what in ("mL", "confidence") for modality in modalities]
    agreement = report["agreement"]
    table = Table("structure", *columns, *(["agreement"] if agreement else []))
    for row in report["structures"]:
        volumes = [f"{row['volume_ml'][modality]:.2f}" for modality in modalities]
        confidences = [_number(row["confidence"][modality]) for modality in modalities]
        table.add_row(row["name"], *volumes, *confidences, *([_number(agreement[row["name"]])] if agreement else []))
    _console().print(table)
    seconds = json.dumps(report["seconds"])
    print(f"results in {output} ({report['device']}, seconds {seconds}, peak {report['peak_memory_gb']['process']} GB)")
    print(report["intended_use"])


def _print_warnings(report: dict[str, Any]) -> None:
    for finding in report["preflight"]["findings"]:
        if finding["severity"] == "warning":
            print(f"warning[{finding['code']}]: {finding['message']} ({finding['remedy']})", file=sys.stderr)
    for fallback in report["fallbacks"]:
        print(f"warning[fallback]: {fallback}", file=sys.stderr)


def _console() -> "Console":
    """For tables on stdout. No markup: rich would take the code in ``error[code]`` for a style and leave it out."""
    from rich.console import Console

    return Console(markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
