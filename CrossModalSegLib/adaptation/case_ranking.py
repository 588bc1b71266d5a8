"""What a model says about cases that nobody has corrected: how uncertain it is, and how much its modalities disagree.

The order that follows from it is made in ``work_list``; the numbers are written for it as they are found, so that a
ranking that was stopped has those that were done, and goes on with the others.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.dice import dice, joint_counts
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.background import with_dark_background
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.inference.inference import ModalityResult, Segmenter, modality_slot
from CrossModalSegLib.preprocess import normalise
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.cases import SiteCase
from CrossModalSegLib.site.work_list import CaseScore, Ranking, read_ranking, write_ranking

LIKELY_FOREGROUND = 0.05  # voxels whose probability of background is not above 1 minus this count
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def rank_site(
    store: CaseStore,
    segmenter: Segmenter,
    report: Callable[[int, int], None],
    limit: int | None = None,
    leave_out: Callable[[SiteCase, CrossModalSegError], None] = lambda _case, _error: None,
) -> Ranking:
    """Score all cases that this model has not scored yet, at most ``limit``, and keep the ranking in the site's folder.

    Corrected cases are scored too: the others shall be unlike them. ``report`` is told how many of how many are done,
    ``leave_out`` which cases the model cannot score, and why. Excluded cases are not scored.
    """
    model = f"{segmenter.bundle.name} ({segmenter.bundle.sha256[:12]})"
    known = read_ranking(store.folder)
    scores = dict(known.scores) if known.model == model else {}
    missing = [case for case in store.cases() if case.id not in scores and not case.is_excluded]
    cases = sorted(missing, key=lambda case: case.trusted is not None)
    most, done = len(cases) if limit is None else min(limit, len(cases)), 0
    for case in cases:
        if done == most:
            break
        report(done, most)
        try:
            scores[case.id] = score_case(case, segmenter)
        except CrossModalSegError as error:
            leave_out(case, error)
            continue
        done += 1
        write_ranking(store.folder, Ranking(model, scores))
    return Ranking(model, scores)


def score_case(case: SiteCase, segmenter: Segmenter) -> CaseScore:
    """The model's opinion of one case. Raises what reading and segmenting it raises."""
    bundle = segmenter.bundle
    names = {name: bundle.modalities[modality_slot(bundle, name)] for name in case.volumes}
    volumes = {names[name]: read_volume(path, names[name]) for name, path in case.volumes.items()}
    result = segmenter.segment(volumes)
    probabilities = {name: one.probabilities.float() for name, one in result.modalities.items()}
    voxel_ml = result.model_grid.voxel_volume_ml
    features = [
        number
        for slot, name in enumerate(bundle.modalities)
        for number in (
            _features(result.modalities[name], voxel_ml, segmenter, slot)
            if name in probabilities
            else [0.0] * (len(bundle.label_map.values) + len(QUANTILES))
        )
    ]
    return CaseScore(uncertainty(list(probabilities.values())), disagreement(probabilities), tuple(features))


def uncertainty(probabilities: Sequence[Tensor]) -> float:
    """Mean entropy, 0 to 1, over the voxels that may be foreground; ``probabilities`` (C, D, H, W) per modality."""
    found = []
    for one in probabilities:
        inside = one[:, one[0] < 1 - LIKELY_FOREGROUND]  # (C, n)
        if inside.shape[1]:
            entropy = -(inside * inside.clamp_min(1e-6).log()).sum(dim=0) / float(np.log(len(one)))
            found.append(float(entropy.mean().clamp(0, 1)))
    return float(np.mean(found)) if found else 0.0


def disagreement(probabilities: Mapping[str, Tensor]) -> float:
    """1 minus the mean Dice of the two modalities' labels over the structures that either shows; 0 for one scan
    alone."""
    if len(probabilities) < 2:
        return 0.0
    first, second = probabilities.values()
    mean = dice(joint_counts(first.argmax(dim=0), second.argmax(dim=0), len(first)))[1:].nanmean()
    return 0.0 if bool(mean.isnan()) else float(1 - mean)


def _features(result: ModalityResult, voxel_ml: float, segmenter: Segmenter, slot: int) -> list[float]:
    """What a case looks like: the structures' volumes (logarithm of 1 + mL), and quantiles of the normalised scan."""
    classes = result.probabilities.shape[0]
    counts = torch.bincount(result.best[1].flatten(), minlength=classes)[1:]
    image = torch.from_numpy(np.ascontiguousarray(with_dark_background(result.volume).array))
    scaled = normalise(image, torch.ones_like(image, dtype=torch.bool), segmenter.rules[slot]).flatten()
    sample = scaled[:: max(1, len(scaled) // 200_000)]
    quantiles = torch.quantile(sample, torch.tensor(QUANTILES))
    return [*(counts * voxel_ml).log1p().tolist(), *quantiles.tolist()]
