"""Score a brain bundle: the figures of its model card.

    python -m Testing.Benchmarks.starter.score --bundle brain-mr-pair --output runs/scores.json

Needs the data folder (CROSSMODALSEG_DATA or ../shared/data). Everything runs through the library as users run it. Parts
(choose with --parts):

synthetic   pairs of whole synthetic scans from label maps that training never saw: both modalities, the first alone,
            the second alone, and the second displaced by 5 mm and 5 degrees; Dice of the first modality's labels
            (of the second's where only the second is given)
slots       a synthetic T1w in the place of the T2w, also inverted; Dice
fusion      a scan of thick slices, or a noisy one, alone and beside a good scan of the other contrast; Dice
volumes     volume of each structure over the true one, synthetic T1w
atrophy     correlation of hippocampus volumes, synthetic T1w with atrophy of 0 to 40 %
outside     mL labelled more than 5 mm outside of the brain, synthetic whole heads
located     real extracted brains: percent of each that lies outside of what the locator finds and its reach
lesions     what lesions are labelled as in open-ms, in percent
oasis       real T1w of oasis-t1, alone; Dice against manual labels mapped to FreeSurfer numbers
displaced   consistency: real pairs of open-ms, second scan displaced by 5 mm and 5 degrees and stored oblique,
            left-handed, on 3 mm slices; Dice of the first modality's result with its own aligned result
agreement   real pairs of open-ms: Dice between the results of the two modalities
storage     oasis-t1 stored flipped and permuted, and obliquely; Dice with the original's result in physical space

The scans of oasis-t1 are for judging a model that is done: how often they were looked at is on the model card.
"""

import argparse
import json
import os
from pathlib import Path

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.inference.inference import Segmenter
from Testing.Benchmarks.starter.real import (
    score_agreement,
    score_displaced,
    score_lesions,
    score_located,
    score_oasis,
    score_storage,
)
from Testing.Benchmarks.starter.synthetic import (
    score_atrophy,
    score_fusion,
    score_outside,
    score_pairs,
    score_slots,
    score_volumes,
)
from Testing.Benchmarks.starter.tables import Scores

PARTS = {
    "synthetic": score_pairs,
    "slots": score_slots,
    "fusion": score_fusion,
    "volumes": score_volumes,
    "atrophy": score_atrophy,
    "outside": score_outside,
    "located": score_located,
    "lesions": score_lesions,
    "oasis": score_oasis,
    "displaced": score_displaced,
    "agreement": score_agreement,
    "storage": score_storage,
}


def main() -> None:
    """Print each part and write the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="brain-mr-pair")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CROSSMODALSEG_DATA", "../shared/data")))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    segmenter = Segmenter(load_bundle(args.bundle), args.device)
    scores: Scores = {
        "bundle": segmenter.bundle.name,
        "sha256": segmenter.bundle.sha256,
        "device": str(segmenter.device),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for part in args.parts:
        scores[part] = PARTS[part](segmenter, args.data)
        print(part, json.dumps(scores[part], indent=1), flush=True)
        args.output.write_text(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
