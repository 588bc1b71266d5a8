"""How far a candidate goes from its parent's weights to the trained ones, as held-out patients show it.

A share that was chosen on the patients it is judged on would look better than it is. So patients are in groups (of a
fold each), and each group is judged at the share that all other groups choose; the candidate goes as far as all of them
say.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence

TOLERANCE = 0.002  # mean Dice: what brings no more than this is not worth going further for

Gains = Mapping[float, Mapping[str, float]]  # by share and patient: mean Dice, candidate minus parent


def best_share(gains: Gains, patients: Collection[str]) -> float | None:
    """The smallest share whose mean gain over these ``patients`` is within `TOLERANCE` of the best; None without
    any."""
    means = {
        share: statistics.fmean(of[name] for name in of if name in patients)
        for share, of in gains.items()
        if of.keys() & set(patients)
    }
    return min((share for share, mean in means.items() if mean >= max(means.values()) - TOLERANCE), default=None)


def cross_fitted(gains: Gains, groups: Sequence[Collection[str]], unproven: float) -> dict[str, float]:
    """For each patient the share that the patients of all other groups choose; ``unproven`` where there are none."""
    chosen: dict[str, float] = {}
    for number, group in enumerate(groups):
        others = {name for other in (*groups[:number], *groups[number + 1 :]) for name in other} - set(group)
        share = best_share(gains, others)
        chosen |= dict.fromkeys(group, unproven if share is None else share)
    return chosen


def halves(patients: Sequence[str]) -> list[list[str]]:
    """Two groups of patients who are all held out of one training."""
    return [part for part in (list(patients[::2]), list(patients[1::2])) if part]
