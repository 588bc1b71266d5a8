"""``crossmodalseg evaluate``: scores a segmentation against a reference, structure by structure."""

import argparse
import math
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from CrossModalSegLib.commands.options import add_orientation_option, given_path

EXAMPLES = """\
examples:
  crossmodalseg evaluate --prediction result/T1w_segmentation.seg.nrrd --reference manual.nii.gz
  crossmodalseg evaluate --prediction p.nii.gz --reference r.nii.gz --labels to_freesurfer.json --json scores.json
"""

ABSENT = """\
A structure that only one side has scores Dice 0 and NSD 0 and has no HD95; one that neither side has is in no mean.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="score a segmentation against a reference",
        description="Dice, normalised surface Dice (NSD) and 95 % Hausdorff distance (HD95) per structure, in native "
        "space: both files must be on one grid. " + ABSENT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prediction", required=True, type=given_path, metavar="P", help="the segmentation to score")
    parser.add_argument("--reference", required=True, type=given_path, metavar="R", help="what it is scored against")
    parser.add_argument(
        "--labels",
        type=given_path,
        metavar="MAP",
        help='JSON: a label map ({"structures": [...]}: score these), or a translation of reference values to '
        "prediction "
        'values ({"map": {"4": 14, ...}}: leave voxels of other reference values out of the comparison)',
    )
    parser.add_argument(
        "--tolerance", type=_millimetres, default=1.0, metavar="MM", help="tolerance of the NSD in mm (default: 1)"
    )
    parser.add_argument(
        "--ignore",
        type=_values,
        default=(),
        metavar="VALUES",
        help="reference values, separated by commas, whose voxels are left out of the comparison",
    )
    add_orientation_option(parser)
    parser.add_argument(
        "--json", type=given_path, metavar="FILE", help="write the scores here too; - for stdout, no table"
    )


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from CrossModalSegLib.atomic import staged_file
    from CrossModalSegLib.errors import OutputError
    from CrossModalSegLib.imaging.finding import Finding
    from CrossModalSegLib.inference.evaluation import score_files, to_json, to_table
    from CrossModalSegLib.label_translation import read_labels

    to_file = args.json is not None and args.json != Path("-")
    for given in filter(None, (args.prediction, args.reference, args.labels) if to_file else ()):
        if os.path.realpath(given) == os.path.realpath(args.json):
            raise OutputError("input-in-output", f"--json {args.json} is what is read", "choose another file")
    labels = read_labels(args.labels) if args.labels else None
    with staged_file(args.json) if to_file else nullcontext() as staging:  # whether it can be written is known first
        evaluation = score_files(
            args.prediction, args.reference, labels, args.tolerance, args.ignore, args.assume_orientation
        )
        if staging is not None:
            staging.write_text(to_json(evaluation), encoding="utf-8")
    for note in evaluation.notes:
        print(
            Finding("warning", "unmatched", note, "make sure that names, or values, are the same where structures are"),
            file=sys.stderr,
        )
    if args.json == Path("-"):
        sys.stdout.write(to_json(evaluation))
        return 0
    Console(width=None if sys.stdout.isatty() else 120).print(to_table(evaluation))
    return 0


def _millimetres(text: str) -> float:
    length = float(text)
    if not (math.isfinite(length) and length >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no length in mm")
    return length


def _values(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers such as 25,57") from None
    if min(values) < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a label value is not negative")
    return values
