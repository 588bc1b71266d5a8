"""Structures that nobody draws at a site, though the parent finds them: a protocol without them, not their absence.

An expert who does not draw cerebrospinal fluid leaves background there. Learnt as such, the structure would be lost.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import SPECK_ML, CaseScorer, read_prediction
from CrossModalSegLib.adaptation.site_data import DataCase, structure_ml


def settle_undrawn(run: Finetuning, scorer: CaseScorer, cases: Sequence[DataCase]) -> None:
    """Note in the plan which structures that no correction shows the parent finds in these corrected ``cases`` all the
    same: in at least half of their scans. Nothing where that is noted, or where the corrections show everything."""
    missing = [value for value in run.data.unshown if value not in run.mapping.undrawn]
    if not missing:
        return
    for number, case in enumerate(cases):
        run.pace.update("scoring the parent", number / len(cases), f"case {number + 1} of {len(cases)}")
        scorer.score(case)
    volumes = [
        structure_ml(labels)
        for case in cases
        for name, labels in read_prediction(scorer.folder, case).items()
        if name in case.labels
    ]
    mapping = dataclasses.replace(run.mapping, undrawn=found_all_the_same(volumes, missing))
    run.decide(dataclasses.replace(run.plan, mapping=mapping.to_json()))


def found_all_the_same(volumes: Sequence[Mapping[int, float]], values: Sequence[int]) -> frozenset[int]:
    """Those of the ``values`` of which at least half of the scans show more than a speck; ``volumes`` holds the mL of
    each value that the parent finds, by scan."""
    return frozenset(v for v in values if volumes and statistics.median_high(s.get(v, 0.0) for s in volumes) > SPECK_ML)
