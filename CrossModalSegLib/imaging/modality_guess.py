"""Which modality a scan is, by what it is called: DICOM modality, series description, file or node name.

The texts are taken apart into the words of radiology (`_WORDS`). A word counts where it stands alone, or glued to other
such words ("SagT1MPRAGE"), so that "T10" or a patient's number never means anything. The words tell a contrast
(`_CONTRASTS`), and a bundle's modality names and aliases, read in the same way, tell which modality has it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

Aliases = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ScanDescription:
    """What a scan is called: ``texts``, the most telling one first; DICOM modality (0008,0060), such as "MR"."""

    texts: tuple[str, ...]
    dicom_modality: str = ""


def guess_modality(
    bundle_modalities: Sequence[str], aliases: Aliases, *texts: str, dicom_modality: str = ""
) -> str | None:
    """The modality of a bundle that a scan with these texts is, or None where they do not tell or it is none of them.

    The first text that tells anything decides; ``dicom_modality`` outranks a text that does not go with it.
    """
    fits = fit_by_modality(bundle_modalities, aliases, ScanDescription(texts, dicom_modality))
    return _best(fits)


def assign(modalities: Sequence[str], aliases: Aliases, descriptions: Sequence[ScanDescription]) -> dict[str, int]:
    """The best choice of scans for the modalities: index into ``descriptions`` by modality, none of them twice.

    A modality that no scan fits is left out. A scan of exactly the modality goes before one under an alias, and that
    before one of the same family (a T1w with contrast agent for T1w). Of equals, the first is taken.
    """
    fits = [fit_by_modality(modalities, aliases, one) for one in descriptions]
    choices = [[*(index for index, fit in enumerate(fits) if name in fit), None] for name in modalities]
    best: tuple[int, dict[str, int]] = (0, {})
    for chosen in product(*choices):
        found = {name: index for name, index in zip(modalities, chosen, strict=True) if index is not None}
        total = sum(fits[index][name] for name, index in found.items())
        if len(set(found.values())) == len(found) and total > best[0]:
            best = (total, found)
    return best[1]


def contradicts(modality: str, modalities: Sequence[str], aliases: Aliases, scan: ScanDescription) -> str | None:
    """The other modality of the bundle that ``scan`` clearly says it is, where it is chosen as ``modality``; else
    None."""
    fits = fit_by_modality(modalities, aliases, scan)
    best = _best(fits)
    return best if best is not None and fits[best] >= fits.get(modality, 0) + 2 else None


# How well a scan fits a modality.
_EXACT, _ALIAS, _SAME_FAMILY, _ONLY_ONE_POSSIBLE = 4, 3, 2, 1


def _best(fits: Mapping[str, int]) -> str | None:
    ranked = sorted(fits, key=lambda name: -fits[name])
    if not ranked or (len(ranked) > 1 and fits[ranked[0]] == fits[ranked[1]]):
        return None
    return ranked[0]


def fit_by_modality(modalities: Sequence[str], aliases: Aliases, scan: ScanDescription) -> dict[str, int]:
    """How well the scan fits each modality, from 1 to 4 (exactly); those that it does not fit are left out."""
    header = _HEADERS.get(scan.dicom_modality.strip().upper())
    for text in scan.texts:
        named = _literal_fits(modalities, aliases, text)
        if named:
            return named
        contrast = contrast_of(text)
        if contrast == "MR":  # another text may say more
            header = header or contrast
        elif contrast is not None and (header is None or header in _lineage(contrast)):
            return _contrast_fits(modalities, aliases, contrast)
    return _contrast_fits(modalities, aliases, header) if header else {}


def _literal_fits(modalities: Sequence[str], aliases: Aliases, text: str) -> dict[str, int]:
    """For names that are no contrast of the field ("arterial", "A"): the text is that name or has it as a word."""
    words = {text.strip().lower(), *(part for part in _SEPARATORS.split(text.lower()) if len(part) > 2)}
    fits = {}
    for modality in modalities:
        names = {alias.lower() for alias in aliases.get(modality, ()) if contrast_of(alias) is None}
        if contrast_of(modality) is None and modality.lower() in words:
            fits[modality] = _EXACT
        elif names & words:
            fits[modality] = _ALIAS
    return fits


def _contrast_fits(modalities: Sequence[str], aliases: Aliases, contrast: str) -> dict[str, int]:
    own = {modality: contrast_of(modality) for modality in modalities}
    fits = {}
    for modality in modalities:
        others = {contrast_of(alias) for alias in aliases.get(modality, ())}
        if own[modality] == contrast:
            fits[modality] = _EXACT
        elif contrast in others:
            fits[modality] = _ALIAS
        elif {own[modality], *others} & set(_lineage(contrast)):
            fits[modality] = _SAME_FAMILY
    narrower = [modality for modality, known in own.items() if known and contrast in _lineage(known)]
    if not fits and len(narrower) == 1:
        fits[narrower[0]] = _ONLY_ONE_POSSIBLE
    return fits


# --- the field's words

_HEADERS = {"CT": "CT", "MR": "MR", "PT": "PET"} | dict.fromkeys(
    ("CR", "DX", "MG", "NM", "RTDOSE", "RTSTRUCT", "SEG", "SM", "SR", "US", "XA"), "other"
)

# Contrasts by the words that tell them; the first row that fits decides. Each text is one way to fit: all its words are
# there, and none of those with a minus.
_CONTRASTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("localizer", ("localizer",)),
    ("segmentation", ("segmentation",)),
    ("ADC", ("adc",)),
    ("BOLD", ("bold",)),
    ("perfusion", ("perfusion",)),
    ("DWI", ("dwi",)),
    ("SWI", ("swi",)),
    ("MRA", ("mra",)),
    ("map", ("t1 map", "t2 map", "mapping", "field map", "mp2rage images", "b1 map")),
    ("T2*", ("t2star", "t2 star", "t2 gre", "t2 ffe", "t2 medic")),
    ("CT", ("ct",)),
    ("PET", ("pet",)),
    ("LGE", ("lge", "late enhancement", "late gd")),
    ("T1c", ("t1 flair gd -t2 -pre",)),
    ("T1w", ("t1 flair -t2",)),
    ("FLAIR", ("flair", "dark fluid", "da fl")),
    ("STIR", ("stir",)),
    ("bSSFP", ("bssfp",)),
    ("T1c", ("t1 gd -t2 -pre", "t1 post -t2 -op")),
    ("T1w", ("t1 -t2 -pd",)),
    ("T2w", ("t2 -t1 -pd",)),
    ("PDw", ("pd -t1 -t2", "proton density -t1 -t2")),
    ("MR", ("mr",)),
)

_MR = "T1w T2w T2* FLAIR STIR PDw bSSFP LGE SWI DWI ADC BOLD MRA map"
_PARENT = {"T1c": "T1w", **dict.fromkeys(_MR.split(), "MR")}

# What is written, by what it means.
_SPELLINGS = {
    "t1": "t1w t1wi mprage bravo spgr fspgr irspgr tfl vibe lava thrive t1ffe t1tfe",
    "t2": "t2w t2wi haste ssfse",
    "pd": "pdw pdwi",
    "t1 gd": "t1c t1ce t1gd t1post t1km",
    "t1 mp2rage": "mp2rage",
    "gd": "gad gado gadolinium ce cm km contrast enhanced dotarem gadovist magnevist",
    "post": "postcontrast postgd postgad",
    "pre": "precontrast native nativ without ohne no non",
    "enhancement": "enh enhanced",
    "late": "delayed",
    "lge": "psir delenh",
    "t2star": "t2starw t2s",
    "t2 star": "hemo haemo",
    "flair": "darkfluid",
    "stir": "tirm",
    "bssfp": "ssfp trufi trufisp truefisp fiesta ciss btfe bffe cine",
    "gre": "fl2d",
    "map": "maps",
    "mapping": "molli t1map t2map fieldmap",
    "ct": "cta cect ncct nect cbct ldct",
    "pet": "fdg suv",
    "mr": "mri",
    "dwi": "diffusion diff dti tracew ep2d",
    "perfusion": "perf dsc pwi asl pcasl dce ctp",
    "bold": "fmri",
    "swi": "swan",
    "mra": "mrv tof",
    "localizer": "localiser scout survey topogram",
    "segmentation": "seg labels labelmap mask",
}
_PLAIN = "adc b1 da dark density field ffe fl fluid images medic op proton"

# Words that may be glued to each other without a gap; the fillers (planes, sequences) mean nothing here.
_FILLERS = "ax axial sag cor tra trans tse fse se ir tir spc space cube 2d 3d fs fat sat iso w tfe brain head"
_GLUED = "t1 t1w t2 t2w flair mprage mp2rage bravo stir tirm star gd gad post fl2d gre vibe"


def _meanings() -> dict[str, frozenset[str]]:
    known: dict[str, set[str]] = {word: {word} for word in _PLAIN.split()}
    for meaning, spellings in _SPELLINGS.items():
        for word in (*spellings.split(), *(() if " " in meaning else (meaning,))):
            known.setdefault(word, set()).update(meaning.split())
    return {word: frozenset(meaning) for word, meaning in known.items()}


_WORDS = _meanings()
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # SagT1 -> Sag T1, MRHead -> MR Head
_GLUE = re.compile("|".join(sorted({*_FILLERS.split(), *_GLUED.split()}, key=len, reverse=True)))


@lru_cache(maxsize=4096)
def contrast_of(text: str) -> str | None:
    """The contrast that ``text`` tells ("T1w", "FLAIR", "CT", "T2*" ...), or None."""
    words = frozenset().union(*_word_meanings(text))
    return next((name for name, ways in _CONTRASTS if any(_is_told(way, words) for way in ways)), None)


def _is_told(way: str, words: frozenset[str]) -> bool:
    return all((word[1:] not in words) if word.startswith("-") else (word in words) for word in way.split())


def _word_meanings(text: str) -> Iterator[frozenset[str]]:
    # the signs that carry meaning become words before the others separate: T2*, SE+C
    text = re.sub(r"(?i)t2\*w?", " t2star ", text)
    text = re.sub(r"(?i)\+c\b|\bc\+", " gd ", text)
    for token in re.split(r"[^A-Za-z0-9]+", text):
        parts = [token] if token.lower() in _WORDS else _HUMPS.split(token)
        for part in parts:
            for word in _unglued(part.lower()):
                yield _WORDS.get(word, frozenset())


def _unglued(token: str) -> list[str]:
    """The words in ``token``: itself, or several where it consists of nothing else."""
    if token in _WORDS:
        return [token]
    words = _GLUE.findall(token)
    return words if "".join(words) == token else []


def _lineage(contrast: str) -> tuple[str, ...]:
    """The contrast and the wider ones that hold it: T1c, T1w, MR."""
    parent = _PARENT.get(contrast)
    return (contrast, *_lineage(parent)) if parent else (contrast,)
