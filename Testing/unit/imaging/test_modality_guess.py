"""Scans are told by what they are called in the wild, and never by what only looks like it."""

import pytest

from CrossModalSegLib.bundles.bundle import list_bundles
from CrossModalSegLib.imaging.modality_guess import ScanDescription, assign, contradicts, contrast_of, guess_modality

BRAIN = ("T1w", "T2w")
BRAIN_ALIASES = {"T1w": ["T1", "T1c", "MPRAGE"], "T2w": ["T2", "FLAIR", "PD", "STIR"]}
CARDIAC = ("bSSFP", "LGE")
ABDOMEN = ("CT", "MR")
TUMOUR = ("T1c", "FLAIR")


def scans(*names: str) -> list[ScanDescription]:
    return [ScanDescription((name,)) for name in names]


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("T1 MPRAGE", "T1w"),
        ("T1w", "T1w"),
        ("t1_mprage_sag_p2_iso", "T1w"),
        ("MP2RAGE_UNI", "T1w"),
        ("Sag BRAVO", "T1w"),
        ("3D SPGR", "T1w"),
        ("sT1W_3D_TFE SENSE", "T1w"),
        ("SagT1MPRAGE", "T1w"),
        ("Ax T1 FLAIR", "T1w"),  # General Electric's T1-weighted FLAIR
        ("T1 nativ", "T1w"),
        ("T1 without contrast", "T1w"),
        ("sub-01_ses-1_T1w.nii.gz", "T1w"),
        ("T1 post Gd", "T1c"),
        ("AX T1 SE+C FS", "T1c"),
        ("t1_vibe_km", "T1c"),
        ("T1CE", "T1c"),
        ("T2 TSE", "T2w"),
        ("t2_space_sag", "T2w"),
        ("AxT2FSE", "T2w"),
        ("T2WI", "T2w"),
        ("FLAIR", "FLAIR"),
        ("T2 FLAIR", "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("t2_spc_da-fl_sag_p2", "FLAIR"),
        ("Sag CUBE T2 FLAIR", "FLAIR"),
        ("COR STIR", "STIR"),
        ("t2_tirm_cor", "STIR"),
        ("PD_TSE_fs", "PDw"),
        ("Proton Density", "PDw"),
        ("T2*", "T2*"),
        ("t2* gre", "T2*"),
        ("GRE T2 hemo", "T2*"),
        ("SWI_mIP", "SWI"),
        ("ep2d_diff_3scan_trace", "DWI"),
        ("ep2d_diff_3scan_trace_ADC", "ADC"),
        ("T1 map", "map"),
        ("MP2RAGE_T1_Images", "map"),
        ("TOF_3D", "MRA"),
        ("bSSFP", "bSSFP"),
        ("cine_TRUFI_sa", "bSSFP"),
        ("FIESTA-C", "bSSFP"),
        ("LGE", "LGE"),
        ("late enhancement sa", "LGE"),
        ("DE_PSIR", "LGE"),
        ("CT", "CT"),
        ("CTA thorax", "CT"),
        ("CT MPR cor", "CT"),
        ("CTChest", "CT"),
        ("MRHead", "MR"),
        ("T1w_seg", "segmentation"),
        ("localizer", "localizer"),
    ],
)
def test_descriptions_in_the_wild_tell_their_contrast(text, contrast):
    assert contrast_of(text) == contrast


@pytest.mark.parametrize(
    "text",
    ["", "T10", "PAT123T2X", "PAT123T2", "sect 3", "Select", "iPAT2", "spine T10-L2", "brain", "Volume_1", "T1 and T2",
     "pd+t2_tse", "SPECTRE", "Mrazek", "Flairy", "petra", "2024-03-01"],
)  # fmt: skip
def test_what_only_looks_like_a_contrast_or_names_two_tells_none(text):
    assert contrast_of(text) is None


@pytest.mark.parametrize(
    ("modalities", "text", "guess"),
    [
        (BRAIN, "T1 MPRAGE", "T1w"),
        (BRAIN, "T1 post Gd", "T1w"),  # still T1-weighted
        (BRAIN, "T2 TSE", "T2w"),
        (BRAIN, "T2 FLAIR", None),  # a FLAIR is no T2w, unless the bundle says so
        (BRAIN, "T2*", None),
        (BRAIN, "SWI", None),
        (BRAIN, "T1w_seg", None),
        (BRAIN, "CT", None),
        (("T2w", "FLAIR"), "T2 FLAIR", "FLAIR"),
        (("T1w", "T1c"), "T1 post Gd", "T1c"),
        (("T1w", "T1c"), "T1", "T1w"),
        (TUMOUR, "T1", "T1c"),  # the only one of its family
        (CARDIAC, "cine_TRUFI_sa", "bSSFP"),
        (CARDIAC, "PSIR", "LGE"),
        (ABDOMEN, "CTA abdomen", "CT"),
        (ABDOMEN, "T2 HASTE", "MR"),
        (("arterial", "venous"), "liver_venous_01", "venous"),
        (("A", "B"), "b", "B"),
        (("A", "B"), "Patient A", None),  # one letter is no word of a description
    ],
)
def test_the_modality_of_a_bundle_that_a_text_means(modalities, text, guess):
    assert guess_modality(modalities, {}, text) == guess


def test_a_bundles_aliases_say_what_else_a_modality_takes():
    assert guess_modality(BRAIN, BRAIN_ALIASES, "t2_tirm_tra_dark-fluid") == "T2w"
    assert guess_modality(BRAIN, BRAIN_ALIASES, "PD") == "T2w"
    assert guess_modality(("portal", "late"), {"portal": ["pv60s"]}, "Abdomen pv60s") == "portal"


def test_every_alias_of_the_starter_bundle_is_the_modality_that_it_stands_for():
    starter = next(bundle for bundle in list_bundles() if bundle.name == "brain-mr-pair")
    for modality, aliases in starter.modality_aliases.items():
        for alias in (modality, *aliases):
            assert guess_modality(starter.modalities, starter.modality_aliases, alias) == modality


def test_the_first_text_that_tells_anything_decides():
    assert guess_modality(BRAIN, {}, "3: Sag 3D", "T2 SPACE", "T1") == "T2w"
    assert guess_modality(BRAIN, {}, "SWI", "T1") is None
    assert guess_modality(BRAIN, {}, "MR head", "T1") == "T1w"


@pytest.mark.parametrize(
    ("modalities", "text", "header", "guess"),
    [
        (ABDOMEN, "Abdomen", "CT", "CT"),
        (ABDOMEN, "Abdomen", "mr", "MR"),
        (ABDOMEN, "CT planning", "MR", "MR"),  # an MR for planning, whatever it is called
        (ABDOMEN, "MR", "CT", "CT"),
        (ABDOMEN, "T1", "SEG", None),
        (("PET", "CT"), "PET CT", "PT", "PET"),
        (("CT", "T1w"), "", "MR", "T1w"),
        (BRAIN, "", "MR", None),  # either
        (BRAIN, "T1", "CT", None),
        (BRAIN, "T1", "MR", "T1w"),
        (BRAIN, "T1", "OT", "T1w"),
    ],
)
def test_the_dicom_modality_is_believed_before_a_text_that_does_not_go_with_it(modalities, text, header, guess):
    assert guess_modality(modalities, {}, text, dicom_modality=header) == guess


def test_what_fits_two_modalities_alike_is_neither():
    assert guess_modality(("early", "late"), {"early": ["T2"], "late": ["T2w"]}, "T2 TSE") is None


# --- several scans


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T2 TSE", "T1 MPRAGE"], {"T1w": 1, "T2w": 0}),
        (["T1 post Gd", "FLAIR", "T1 MPRAGE", "T2 TSE"], {"T1w": 2, "T2w": 3}),  # each exactly what is asked for
        (["T1 post Gd", "FLAIR"], {"T1w": 0, "T2w": 1}),
        (["T1 a", "T1 b"], {"T1w": 0}),
        (["T2 a", "T2 b", "T1"], {"T1w": 2, "T2w": 0}),
        (["localizer", "SWI"], {}),
        ([], {}),
    ],
)
def test_the_best_scan_is_chosen_for_each_modality_and_the_first_of_equals(names, expected):
    assert assign(BRAIN, BRAIN_ALIASES, scans(*names)) == expected


def test_no_scan_is_chosen_twice():
    both = ScanDescription(("",), "MR")
    assert assign(("MR", "T2w"), {}, scans("T2 TSE", "T1")) == {"MR": 1, "T2w": 0}
    assert assign(ABDOMEN, {}, [both, ScanDescription(("Abdomen",), "CT")]) == {"CT": 1, "MR": 0}


# --- contradiction


@pytest.mark.parametrize(
    ("modality", "name", "other"),
    [
        ("T1w", "T2 TSE", "T2w"),
        ("T2w", "T1 post Gd", "T1w"),
        ("T1w", "FLAIR", "T2w"),  # by its alias
        ("T1w", "T1 MPRAGE", None),
        ("T2w", "FLAIR", None),
        ("T2w", "SWI", None),  # neither
        ("T2w", "Volume_1", None),
    ],
)
def test_a_scan_that_clearly_says_it_is_the_other_modality_contradicts(modality, name, other):
    assert contradicts(modality, BRAIN, BRAIN_ALIASES, scans(name)[0]) == other


def test_the_header_can_contradict_and_a_mere_possibility_does_not():
    assert contradicts("MR", ABDOMEN, {}, ScanDescription(("Abdomen",), "CT")) == "CT"
    assert contradicts("FLAIR", TUMOUR, {}, scans("T1")[0]) is None
    assert contradicts("T1w", ("T1w", "T1c"), {}, scans("T1 post")[0]) == "T1c"
