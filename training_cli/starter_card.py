"""The scores of the starter bundle as tables of its model card; parts that were not measured are left out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from CrossModalSegLib.labels import LabelMap

Scores = Mapping[str, Any]
SETTINGS = (
    ("both", "both, first's labels"),
    ("both, labels of the second", "both, second's labels"),
    ("first only", "first modality alone"),
    ("second only", "second modality alone"),
    ("displaced", "both, second displaced by 5 mm and 5°"),
)


def score_tables(label_map: LabelMap, scores: Scores) -> str:
    """Markdown of what ``Testing.Benchmarks.starter.score`` has measured."""
    parts: tuple[Callable[[LabelMap, Scores], Iterator[str]], ...] = (_structures, _others, _pairs, _real_t1w)
    tables = ["\n".join(lines) for part in parts if (lines := list(part(label_map, scores)))]
    return "\n\n".join(tables) or "Not measured."


def _structures(label_map: LabelMap, scores: Scores) -> Iterator[str]:
    """Dice per structure, and the ratio of volumes."""
    columns = [(words, scores["synthetic"][key]) for key, words in SETTINGS] if "synthetic" in scores else []
    if "oasis" in scores:
        columns.append(("real T1w alone", scores["oasis"]))
    volumes = scores.get("volumes")
    titles = [words for words, _ in columns] + (["volume, synthetic T1w / true"] if volumes else [])
    if not titles:
        return
    yield "| structure | " + " | ".join(titles) + " |"
    yield "|---|" + "---|" * len(titles)
    means = [f"**{column['mean']:.3f}**" for _, column in columns] + ([""] if volumes else [])
    yield "| **mean** | " + " | ".join(means) + " |"
    for one in label_map.structures:
        cells = [column["per structure"].get(one.name) for _, column in columns]
        cells += [volumes.get(one.name)] if volumes else []
        yield f"| {one.name} | " + " | ".join("–" if cell is None else f"{cell:.3f}" for cell in cells) + " |"


def _others(_label_map: LabelMap, scores: Scores) -> Iterator[str]:
    """Other contrasts, degraded scans, atrophy, what is labelled elsewhere: on synthetic scans of maps 18 to 20."""
    rows = [(f"{name}, brain-extracted", result["mean"]) for name, result in scores.get("slots", {}).items()]
    rows += [(name, result["mean"]) for name, result in scores.get("fusion", {}).items()]
    if rows:
        yield "| synthetic scans of maps 18 to 20 | mean Dice |"
        yield "|---|---|"
        yield from (f"| {name} | {mean:.3f} |" for name, mean in rows)
    if "atrophy" in scores:
        yield ""
        yield (
            "Hippocampus volumes of synthetic T1w with atrophy of 0 to 40 %: correlation with the true ones "
            f"{scores['atrophy']['correlation']:.2f}."
        )
    if "outside" in scores:
        yield ""
        found = ", ".join(f"{millilitres:.1f}" for millilitres in scores["outside"].values())
        yield f"Labelled more than 5 mm outside of the brain in synthetic whole heads: {found} mL."


def _pairs(_label_map: LabelMap, scores: Scores) -> Iterator[str]:
    rows = [
        (f"{pair}: the two results with each other", f"{result['mean']:.3f}")
        for pair, result in scores.get("agreement", {}).items()
    ]
    moved = (
        "first result with its own, second scan displaced by 5 mm and 5° and stored oblique, left-handed, 3 mm slices"
    )
    rows += [(f"{pair}: {moved}", f"{result['mean']:.3f}") for pair, result in scores.get("displaced", {}).items()]
    rows += [
        (f"T1w stored {name}: result with the original's", f"{mean:.3f}")
        for name, mean in scores.get("storage", {}).items()
    ]
    if rows:
        yield (
            "| real scans (brain-extracted, 2 patients with multiple sclerosis; stored otherwise: OASIS) | mean Dice |"
        )
        yield "|---|---|"
        yield from (f"| {name} | {mean} |" for name, mean in rows)
    for patient, shares in scores.get("lesions", {}).items():
        words = ", ".join(f"{share:.0f} % {name}" for name, share in shares.items())
        yield ""
        yield f"Lesions of {patient} are labelled as: {words}."


def _real_t1w(_label_map: LabelMap, scores: Scores) -> Iterator[str]:
    if "oasis" in scores:
        nsd, hd95 = scores["oasis"]["nsd"], scores["oasis"]["hd95_mm"]
        yield f"Real T1w scans: mean normalised surface Dice (1 mm) {nsd:.3f}, 95 % Hausdorff {hd95:.1f} mm."
