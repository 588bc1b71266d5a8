"""Fine-tuning where the corrections show a structure that the base does not have."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from CrossModalSegLib.adaptation.frozen_cases import frozen_cases
from CrossModalSegLib.bundles.bundle import load_bundle, publish_bundle
from CrossModalSegLib.imaging.segmentation_io import write_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.training.forgetting import between
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, intensity_bundle
from Testing.tiny_finetune import QUICK, run, run_folder, same, weights_of
from Testing.tiny_site import labels, scan, site_grid


def test_structures_that_the_base_does_not_have_need_a_mapping(tmp_path, capsys):
    folder = tmp_path
    with_frozen_case(folder / "tiny")
    (folder / "quick.toml").write_text(QUICK)
    spot = LabelMap((Structure(7, "bright spot", (9, 9, 9)),))
    case = CaseFiles(
        {"T1w": scan(0, "T1w"), "T2w": scan(0, "T2w")},
        {"T1w": (np.where(labels(0) == LEFT, 7, 0).astype(np.uint16), site_grid(0))},
        spot,
        {"name": "tiny", "modalities": ["T1w", "T2w"]},
        "p",
    )
    CaseStore(folder / "site").save_correction(case)
    assert run(folder) == 2
    assert 'error[labels-differ]: the bundle has no 7 "bright spot"' in capsys.readouterr().err

    assert run(folder, "--propose-mapping", folder / "mapping.json") == 0
    assert 'new structure "bright spot" (7), whose head begins as background' in capsys.readouterr().out
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping == {"map": {"7": None}, "start": {}}
    mapping["start"]["7"] = LEFT
    (folder / "mapping.json").write_text(json.dumps(mapping))

    assert run(folder, "--mapping", folder / "mapping.json") == 0
    said = capsys.readouterr().err
    assert "taken from the parent's segmentation: tissue, left bright ball, right bright ball" in said
    start = load_file(run_folder(folder) / "training" / "final" / "start.safetensors")["heads.0.weight"]
    base = torch.from_numpy(load_bundle(folder / "tiny").read_weights()["heads.0.weight"]).float()
    assert torch.equal(start[:, :4], base), "what the parent knows stays"
    assert not torch.allclose(start[:, 4], base[:, 2], atol=0.1), "no longer a copy of the left ball"
    final = run_folder(folder) / "training" / "final"
    state = torch.load(final / "checkpoint.pt", weights_only=True)
    share = json.loads((run_folder(folder) / "metrics.json").read_text())["share"]
    there = between(load_file(final / "start.safetensors"), state["average"], share)
    assert same(weights_of(folder), {name: tensor.half().float().numpy() for name, tensor in there.items()})
    grown = load_bundle(run_folder(folder) / "tiny-site-1")
    assert grown.label_map.values == (2, LEFT, RIGHT, 7)
    assert grown.network["classes"] == 5
    Segmenter(grown, "cpu")
    (frozen,) = frozen_cases(grown, {value: value for value in grown.label_map.values})
    assert frozen.values == (2, LEFT, RIGHT)

    wanted = weights_of(folder)
    stop_at_the_end(folder)
    assert run(folder, "--resume", new=False) == 0
    assert same(weights_of(folder), wanted)
    stop_at_the_end(folder)
    (final / "start.safetensors").unlink()
    capsys.readouterr()
    assert run(folder, "--resume", new=False) == 2
    assert re.search(r"error\[bad-run\]: .*no start.safetensors", capsys.readouterr().err)


def stop_at_the_end(folder: Path) -> None:
    """As if the run had been killed before it published."""
    shutil.rmtree(run_folder(folder) / "tiny-site-1")
    (run_folder(folder) / "metrics.json").unlink()


def with_frozen_case(folder: Path) -> None:
    """The tiny bundle with a frozen T1w."""
    plain, volume = intensity_bundle(folder.with_name("plain"), (16, 16, 16), 4.0), scan(5, "T1w")
    write_volume(folder.with_name("T1w.nrrd"), volume.array, volume.grid)
    write_segmentation(folder.with_name("T1w.seg.nrrd"), labels(5), site_grid(5), LABEL_MAP)
    files = {f"frozen/one/{name}": folder.with_name(name).read_bytes() for name in ("T1w.nrrd", "T1w.seg.nrrd")}
    publish_bundle(folder, plain.metadata, plain.read_weights(), "A card.\n", more_files=files)
