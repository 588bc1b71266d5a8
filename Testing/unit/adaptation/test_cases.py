"""Cases as fine-tuning learns from them: what is labelled is learnt, and what is not is never made up."""

import numpy as np
import torch

from CrossModalSegLib.adaptation.cases import Request, make_plan
from CrossModalSegLib.adaptation.config import FinetuneConfig
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.run import Finetuning, Pace
from CrossModalSegLib.adaptation.site_data import prepared
from CrossModalSegLib.adaptation.training import configuration, draw_from
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle
from Testing.tiny_site import labels, scan, site_grid

CPU = torch.device("cpu")


def run_with(folder, site_map: LabelMap = LABEL_MAP) -> Finetuning:
    """Of a site with one pair, of which the T1w alone is labelled."""
    base = intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    known = np.where(np.isin(labels(0), site_map.values), labels(0), 0).astype(np.uint16)
    scans = {name: scan(0, name) for name in base.modalities}
    CaseStore(folder / "site").save_correction(CaseFiles(scans, {"T1w": (known, site_grid(0))}, site_map, {}, "p"))
    mapping, config = same_structures(LABEL_MAP, site_map), FinetuneConfig()
    plan, data = make_plan(folder / "site", base, mapping, Request(config, "new", "1", 10.0))
    return Finetuning(folder / "site", folder / "run", base, mapping, data, plan, CPU, Pace(lambda _: None))


def test_of_a_pair_with_one_labelled_scan_this_one_is_learnt_from_and_the_pair_without_labels(tmp_path):
    run = run_with(tmp_path)
    (case,) = run.data.labelled
    assert not run.mapping.needs_parent
    assert case.labels
    samples = draw_from(run, run.plan.final, configuration(run, 10))
    labelled, unlabelled = samples.labelled, samples.unlabelled
    assert [one.presence for one in labelled.cases] == [(True, False)]
    assert [one.presence for one in unlabelled.cases] == [(True, True)]
    assert labelled.cases[0].labels[0].any()
    assert not unlabelled.cases[0].labels.any()


def test_what_the_parent_sees_completes_structures_and_never_stands_in_for_the_labels_of_a_scan(tmp_path):
    run = run_with(tmp_path, LabelMap(tuple(one for one in LABEL_MAP.structures if one.value != RIGHT)))
    (case,) = run.data.labelled
    assert run.mapping.needs_parent
    predicted = {name: (labels(0), site_grid(0)) for name in case.scans}
    made = prepared(case, run.parent, run.mapping, case.reference(), predicted)
    assert made.presence == (True, False)
    channels = [LABEL_MAP.channels.index(value) for value in (TISSUE, LEFT, RIGHT)]
    assert made.labels[0].unique().tolist() == [0, *channels]
    assert not made.labels[1].any()
