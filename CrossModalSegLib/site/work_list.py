"""Which case to correct next: the one from which the model is expected to learn most.

A case promises much where the model is uncertain, where its two modalities disagree, and where it looks unlike the
cases that are corrected already or stand before it in the list. The network measures these (`CaseScore`); the order is
made here, anew each time, from what is corrected by then: greedy, score plus distance to the nearest one chosen
(k-centre selection; Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach",
2018).

A model that has learnt from all corrected patients leaves nobody to judge its child on. Then patients whom it does not
know come first, as many as the gate of a fine-tuning needs.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.site.cases import SiteCase, person_of

RANKING_FILE = "ranking.json"
_DIVERSITY = 0.5  # weight of the distance (0 to 1) beside the score (0 to 1)
_JUDGES = 2  # corrected patients whom the model does not know
_LOOKED_AT = 50  # cases, to find so many patients


@dataclass(frozen=True)
class CaseScore:
    """What a model says about a case.

    ``uncertainty`` and ``disagreement`` (between the labels of its two modalities; 0 where there is one scan) are 0 or
    more, in any unit that is the same for all cases. ``features`` describe the case; all have the same length.
    Raises DataError ``bad-ranking`` where a number is not finite or is negative.
    """

    uncertainty: float
    disagreement: float
    features: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        scores = (self.uncertainty, self.disagreement)
        if not all(math.isfinite(one) for one in (*scores, *self.features)) or min(scores) < 0:
            raise DataError("bad-ranking", f"scores {scores}", "rank the cases again")


@dataclass(frozen=True)
class Ranking:
    """The scores of a site's cases by id, and the model that they are by."""

    model: str
    scores: Mapping[str, CaseScore]


@dataclass(frozen=True)
class WorkItem:
    """A case to correct. ``gain``: expected gain, None where no model has scored it; comparable within one list only,
    and there among those that judge, and among the others. ``judges``: it comes first because the model does not know
    its patient."""

    case: SiteCase
    gain: float | None
    score: CaseScore | None
    judges: bool = False

    @property
    def reason(self) -> str:
        """Why it stands where it does, in words."""
        words = ["not known to the model, to judge the next one"] if self.judges else []
        if self.score is None:
            words.append("not scored yet")
        else:
            words.append(f"uncertainty {self.score.uncertainty:.3g}, disagreement {self.score.disagreement:.3g}")
        return "; ".join(words)


def write_ranking(folder: Path, ranking: Ranking) -> None:
    """Keep ``ranking`` in the site ``folder``, in place of an earlier one. Raises OutputError ``cannot-write``."""
    scores = {name: asdict(score) for name, score in ranking.scores.items()}
    write_atomically(folder / RANKING_FILE, json.dumps({"model": ranking.model, "scores": scores}))


def read_ranking(folder: Path) -> Ranking:
    """The ranking of the site in ``folder``, empty where there is none. Raises DataError ``bad-ranking``."""
    file = folder / RANKING_FILE
    if not file.is_file():
        return Ranking("", {})
    hint = f"delete {RANKING_FILE}, or rank the cases again"
    content = read_json(file, "bad-ranking", hint)
    try:
        scores = {
            name: CaseScore(entry["uncertainty"], entry["disagreement"], tuple(entry["features"]))
            for name, entry in content["scores"].items()
        }
        return Ranking(str(content["model"]), scores)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError("bad-ranking", f"{file}: {type(error).__name__} {error}", hint) from error


def work_list(
    cases: Iterable[SiteCase], ranking: Ranking, limit: int | None = None, learnt: AbstractSet[str] = frozenset()
) -> list[WorkItem]:
    """The cases that nobody has corrected yet or taken out, the most promising first; those without scores come last,
    by id. ``learnt`` are the patients of whom the site's newest model has learnt."""
    cases = [case for case in cases if not case.is_excluded]
    waiting = [case for case in cases if case.trusted is None]
    done = [case for case in cases if case.trusted is not None]
    missing = _JUDGES - len(_by_patient(_unknown(done, learnt))) if learnt else 0
    promising = _ordered(_unknown(waiting, learnt), done, ranking, _LOOKED_AT) if missing > 0 else []
    judges = _by_patient(item.case for item in promising[:_LOOKED_AT])[: max(0, missing)]
    first = [replace(item, judges=True) for item in promising if item.case in judges]
    rest = [case for case in waiting if case not in judges]
    return [*first, *_ordered(rest, [*done, *judges], ranking, limit)][:limit]


def _unknown(cases: Iterable[SiteCase], learnt: AbstractSet[str]) -> list[SiteCase]:
    return [case for case in cases if person_of(case) not in learnt]


def _by_patient(cases: Iterable[SiteCase]) -> list[SiteCase]:
    """The first case of each patient."""
    found: dict[str, SiteCase] = {}
    for case in cases:
        found.setdefault(person_of(case), case)
    return list(found.values())


def _ordered(
    waiting: Sequence[SiteCase], done: Sequence[SiteCase], ranking: Ranking, limit: int | None
) -> list[WorkItem]:
    """By expected gain, then those without scores."""
    scored = [case for case in waiting if case.id in ranking.scores]
    known = [ranking.scores[case.id] for case in done if case.id in ranking.scores]
    order = greedy_order([ranking.scores[case.id] for case in scored], known, limit)
    items = [WorkItem(scored[index], gain, ranking.scores[scored[index].id]) for index, gain in order]
    return items + [WorkItem(case, None, None) for case in waiting if case.id not in ranking.scores]


def greedy_order(
    waiting: Sequence[CaseScore], done: Sequence[CaseScore], limit: int | None = None
) -> list[tuple[int, float]]:
    """(index into ``waiting``, gain) in the order to take them; ``done`` are those that are corrected already.

    The gain is the mean of both scores' ranks (0 to 1) plus half the distance in feature space to the nearest one that
    is done or stands before it, relative to the largest such distance at the beginning. Of equals, the first is taken.
    """
    if not waiting:
        return []
    parts = [[one.uncertainty for one in waiting], [one.disagreement for one in waiting]]
    score = np.mean([_ranks(part) for part in parts], axis=0)
    features = _features([*waiting, *done])
    own, others = features[: len(waiting)], features[len(waiting) :]
    distance = np.full(len(own), np.inf)
    for other in others:
        distance = np.minimum(distance, np.linalg.norm(own - other, axis=1))
    order: list[tuple[int, float]] = []
    scale = float(distance.max()) if len(others) else 0.0
    for _turn in range(len(own) if limit is None else min(limit, len(own))):
        far = distance / scale if scale > 0 and np.isfinite(scale) else np.zeros(len(own))
        gains = score + _DIVERSITY * far
        gains[[index for index, _gain in order]] = -np.inf
        chosen = int(np.argmax(gains))
        order.append((chosen, float(gains[chosen])))
        distance = np.minimum(distance, np.linalg.norm(own - own[chosen], axis=1))
        scale = scale or float(distance.max())
    return order


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Each value's share of other values below it, 0 to 1 (equal values: the mean); one alone has 0.5."""
    array = np.asarray(values)
    ordered = np.sort(array)
    below, up_to = np.searchsorted(ordered, array, "left"), np.searchsorted(ordered, array, "right")
    return (below + up_to - 1) / 2 / max(1, len(array) - 1) if len(array) > 1 else np.full(1, 0.5)


def _features(scores: Sequence[CaseScore]) -> np.ndarray:
    """(cases, features), each feature scaled to unit spread. Raises DataError ``bad-ranking`` for unequal lengths."""
    if len({len(one.features) for one in scores}) > 1:
        raise DataError("bad-ranking", "cases are described by different numbers of features", "rank the cases again")
    array = np.array([one.features for one in scores], dtype=np.float64).reshape(len(scores), -1)
    spread = array.std(axis=0)
    return (array - array.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
