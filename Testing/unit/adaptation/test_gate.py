"""The gate: a better candidate is promoted, a worse one never, and too little evidence is called that."""

import math

import pytest

from CrossModalSegLib.adaptation.gate import (
    Aim,
    GateRules,
    PairedCase,
    Remarks,
    compare,
    falls_too_far,
    gains,
    judge,
    more_patients,
)
from CrossModalSegLib.errors import ConfigError


def cases(*changes: dict[str, tuple[float, float]], patients: str = "") -> list[PairedCase]:
    """One case each: (parent, candidate) per structure."""
    return [
        PairedCase(
            f"case{n}",
            patients[n : n + 1],
            {"T1w": {name: pair[0] for name, pair in change.items()}},
            {"T1w": {name: pair[1] for name, pair in change.items()}},
        )
        for n, change in enumerate(changes)
    ]


BETTER = cases(
    {"left": (0.70, 0.76), "right": (0.80, 0.85)},
    {"left": (0.72, 0.79), "right": (0.78, 0.84)},
    {"left": (0.68, 0.75), "right": (0.82, 0.87)},
)
GENERAL = Aim(keep_general=True)
SITE = Aim(own=frozenset({"left", "right"}))
SAME = cases({"left": (0.9, 0.9), "right": (0.9, 0.9)})


def test_a_candidate_that_is_better_everywhere_is_promoted():
    verdict = judge(BETTER, SAME)
    assert verdict.decision == "promote"
    assert verdict.site.mean.parent == pytest.approx(0.75)
    assert verdict.site.mean.candidate == pytest.approx(0.81)
    assert "0.750 → 0.810 (+0.060)" in verdict.reasons[0]


def test_better_on_the_mean_but_worse_in_one_structure_is_not_promoted():
    worse = cases(*[{"left": (0.7, 0.9), "right": (0.8, 0.789)}] * 4)
    verdict = judge(worse, [], aim=GENERAL)
    assert verdict.decision == "keep"
    assert verdict.reasons == ("right falls on the held-out cases: Dice 0.800 → 0.789 (-0.011), 0.01 is allowed",)


def test_the_means_are_told_whatever_the_reasons_are():
    assert judge(BETTER, SAME, remarks=Remarks(doubts=["anything"])).means == (
        "held-out cases: mean Dice 0.750 → 0.810 (+0.060), patients: 3",
        "frozen cases: mean Dice 0.900 → 0.900 (+0.000), patients: 1",
    )
    assert judge([], []).means == ()


def test_a_structure_may_fall_by_exactly_what_is_allowed():
    assert judge(cases(*[{"left": (0.7, 0.9), "right": (0.8, 0.79)}] * 4), [], aim=GENERAL).decision == "promote"


def test_at_its_own_site_a_structure_may_lose_what_the_mean_gains_and_no_more_than_a_twentieth():
    def decided(*pairs: tuple[float, float]) -> str:
        return judge(cases(*[dict(zip("abc", pairs, strict=False))] * 4), [], aim=SITE).decision

    assert decided((0.7, 0.76), (0.8, 0.78)) == "promote"  # the mean gains 0.02
    assert decided((0.7, 0.76), (0.8, 0.779)) == "keep"
    assert decided((0.5, 0.9), (0.5, 0.9), (0.8, 0.75)) == "promote"
    assert decided((0.5, 0.9), (0.5, 0.9), (0.8, 0.749)) == "keep"
    verdict = judge(cases(*[{"left": (0.7, 0.76), "right": (0.8, 0.78)}] * 4), [], aim=SITE)
    assert verdict.costs == ("right on the held-out cases: Dice 0.800 → 0.780 (-0.020)",)


def test_one_case_that_falls_far_keeps_the_parent():
    far = cases(*[{"left": (0.5, 0.9)}] * 5, {"left": (0.9, 0.79)})
    assert judge(far, []).decision == "keep"
    assert "held-out case case5 falls" in judge(far, []).reasons[0]


def test_what_is_forgotten_on_frozen_cases_keeps_the_parent():
    verdict = judge(BETTER, cases(*[{"left": (0.90, 0.88), "right": (0.9, 0.95)}] * 2), aim=GENERAL)
    assert verdict.decision == "keep"
    assert "left falls on the frozen cases" in verdict.reasons[0]


def test_what_a_model_for_one_site_loses_elsewhere_is_told_and_decides_only_where_it_is_gross():
    lost = cases({"left": (0.90, 0.70), "right": (0.9, 0.9), "fluid": (0.9, 0.8)})
    verdict = judge(BETTER, lost, aim=SITE)
    assert verdict.decision == "promote"
    assert verdict.costs == (
        "elsewhere (frozen cases): mean Dice 0.900 → 0.800 (-0.100)",
        "left elsewhere: Dice 0.900 → 0.700 (-0.200)",
        "fluid elsewhere: Dice 0.900 → 0.800 (-0.100)",
    )
    half = judge(BETTER, cases({"left": (0.90, 0.55), "right": (0.9, 0.97)}), aim=SITE)
    assert half.decision == "promote", "more than a third of it remains, and the site's own patients gain"
    gross = judge(BETTER, cases({"left": (0.90, 0.29), "right": (0.3, 0.97)}), aim=SITE)
    assert gross.decision == "keep"
    assert gross.reasons == ("left is lost on the frozen cases: Dice 0.900 → 0.290 (-0.610), 33% of it must remain",)
    mean = judge(BETTER, cases({"left": (0.90, 0.69), "right": (0.9, 0.69)}), aim=SITE)
    assert "the frozen cases fall: mean Dice 0.900 → 0.690 (-0.210), 0.2 is allowed" in mean.reasons


def test_a_loss_is_gross_only_on_scans_of_the_site_s_modalities_and_told_for_all():
    lost = cases({"left": (0.90, 0.20), "right": (0.4, 0.9)})
    alike = cases({"left": (0.90, 0.70), "right": (0.9, 0.9)})
    verdict = judge(BETTER, lost, aim=SITE, alike=alike)
    assert verdict.decision == "promote"
    assert "left elsewhere: Dice 0.900 → 0.200 (-0.700)" in verdict.costs
    assert judge(BETTER, alike, aim=SITE, alike=lost).decision == "keep"
    assert judge(BETTER, lost, aim=SITE, alike=[]).decision == "promote"


def test_a_structure_that_the_site_does_not_draw_or_draws_otherwise_is_no_gross_loss():
    others = cases({"left": (0.90, 0.90), "right": (0.9, 0.9), "fluid": (0.9, 0.31)})
    assert judge(BETTER, others, aim=SITE).decision == "promote"
    cortex = cases({"left": (0.90, 0.20), "right": (0.4, 0.9)})
    assert judge(BETTER, cortex, aim=SITE).decision == "keep"
    verdict = judge(BETTER, cortex, aim=Aim(own=SITE.own, protocol=frozenset({"left"})))
    assert verdict.decision == "promote"
    assert "which this site draws otherwise" in verdict.costs[1]


def test_how_many_more_patients_would_make_a_gain_certain():
    assert more_patients([0.09, 0.09]) == 0
    # mean 0.06, standard deviation 0.0424: 3 patients 0.0715, 4 patients 0.0499
    assert more_patients([0.03, 0.09]) == 2
    assert more_patients([0.09]) is None
    assert more_patients([-0.01, -0.02]) is None
    assert more_patients([0.1, -0.099]) is None  # more than anybody corrects


def test_gains_are_of_patients():
    two = [PairedCase("a", "p", {"T1w": {"x": 0.5}}, {"T1w": {"x": 0.7}}),
           PairedCase("b", "p", {"T1w": {"x": 0.5}}, {"T1w": {"x": 0.5}})]  # fmt: skip
    assert gains([*two, *cases({"x": (0.5, 0.4)})]) == pytest.approx({"p": 0.1, "case0": -0.1})


def test_a_structure_that_falls_in_a_single_frozen_case_is_a_doubt_and_in_two_it_is_certain():
    one = cases({"left": (0.90, 0.88), "right": (0.9, 0.91)})
    verdict = judge(BETTER, one, aim=GENERAL)
    assert verdict.decision == "insufficient-evidence"
    assert "left falls on the frozen cases" in verdict.reasons[0]
    assert falls_too_far(one)
    assert not falls_too_far(one, certainly=True)
    assert judge(BETTER, one * 2, aim=GENERAL).decision == "insufficient-evidence"  # the same patient
    two = cases(*[{"left": (0.90, 0.88), "right": (0.9, 0.91)}] * 2)
    assert judge(BETTER, two, aim=GENERAL).decision == "keep"


def test_no_gain_keeps_the_parent():
    assert judge(cases(*[{"left": (0.8, 0.8)}] * 5), []).decision == "keep"


def test_a_contradiction_keeps_the_parent_whatever_the_scores():
    verdict = judge(BETTER, SAME, remarks=Remarks(contradictions=['"left" and "right" look exchanged']))
    assert verdict.decision == "keep"
    assert verdict.reasons == ('"left" and "right" look exchanged',)


def test_a_doubt_is_no_reason_against_the_candidate_but_none_to_promote_it_either():
    verdict = judge(BETTER, SAME, remarks=Remarks(doubts=["the parent knows these"]))
    assert verdict.decision == "insufficient-evidence"
    assert verdict.reasons == ("the parent knows these",)
    assert (
        judge(BETTER, SAME, remarks=Remarks(contradictions=["exchanged"], doubts=["the parent knows these"])).decision
        == "keep"
    )


def test_a_single_patient_is_insufficient_evidence():
    verdict = judge(BETTER[:1], SAME)
    assert verdict.decision == "insufficient-evidence"
    assert "1 patient could be held out, 2 are needed" in verdict.reasons[0]
    assert judge([], SAME).decision == "insufficient-evidence"


def test_two_patients_are_enough_where_their_gains_are_large_and_alike():
    alike = cases({"left": (0.70, 0.80)}, {"left": (0.72, 0.80)})  # +0.09 +- 6.314 * 0.01
    assert judge(alike, SAME).decision == "promote"
    unlike = cases({"left": (0.70, 0.80)}, {"left": (0.76, 0.80)})  # +0.07 +- 6.314 * 0.03
    verdict = judge(unlike, SAME)
    assert verdict.decision == "insufficient-evidence"
    assert "90% interval is -0.119 to +0.259" in verdict.reasons[0]


def test_cases_of_one_patient_are_one_piece_of_evidence():
    one_patient = [PairedCase(case.id, "p", case.parent, case.candidate) for case in BETTER]
    assert judge(one_patient, []).decision == "insufficient-evidence"


def test_a_gain_that_may_be_chance_is_insufficient_evidence():
    changes = cases(*[{"left": (0.8, after)} for after in (0.78, 0.90, 0.79)])
    verdict = judge(changes, [], GateRules(structure_fall=0.1))
    assert verdict.decision == "insufficient-evidence"
    assert "may be chance" in verdict.reasons[0]


def test_the_interval_is_students_t():
    mean = compare(cases(*[{"left": (0.5, 0.5 + gain)} for gain in (0.1, 0.2, 0.3)]), GateRules(confidence=0.9)).mean
    half = 2.919986 * 0.1 / math.sqrt(3)  # t(0.95, 2 degrees of freedom), standard deviation 0.1
    assert (mean.low, mean.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_the_interval_of_a_single_patient_is_infinite():
    assert compare(cases({"left": (0.5, 0.6)})).mean.low == -math.inf


def test_modalities_are_averaged_and_what_is_not_a_number_does_not_count():
    case = PairedCase(
        "a",
        "",
        {"T1w": {"left": 0.5, "right": 0.9}, "T2w": {"left": 0.7, "right": math.nan}},
        {"T1w": {"left": 0.6, "right": math.nan}, "T2w": {"left": 0.8, "right": 0.9}},
    )
    changes = compare([case])
    assert [(change.name, change.parent, change.candidate) for change in changes.structures] == [
        ("left", pytest.approx(0.6), pytest.approx(0.7))
    ]
    assert changes.mean.parent == pytest.approx(0.6)


def test_a_new_structure_that_is_hardly_found_is_not_promoted_though_the_parent_does_not_find_it_at_all():
    hardly = cases(*[{"left": (0.8, 0.81), "tumour": (0.0, 0.05)}] * 3)
    verdict = judge(hardly, SAME, remarks=Remarks(new=["tumour"]))
    assert verdict.decision == "insufficient-evidence"
    assert verdict.reasons == ("the new tumour is not found well: mean Dice 0.050, at least 0.5 is needed",)
    assert (
        judge(hardly, SAME, GateRules(new_structure_least=0.05), remarks=Remarks(new=["tumour"])).decision == "promote"
    )
    well = cases(*[{"left": (0.8, 0.81), "tumour": (0.0, 0.5)}] * 3)
    assert judge(well, SAME, remarks=Remarks(new=["tumour"])).decision == "promote"


def test_where_a_new_structure_does_not_occur_nothing_is_known_of_it():
    absent = {"left": (0.8, 0.85), "tumour": (1.0, 1.0)}
    one_shows_it = cases({"left": (0.8, 0.85), "tumour": (0.0, 0.8)}, absent, absent)
    verdict = judge(one_shows_it, SAME, remarks=Remarks(new=["tumour"]))
    assert verdict.decision == "insufficient-evidence"
    assert "held-out cases of 1 patient show the new tumour, 2 are needed" in verdict.reasons
    mostly_absent = cases(*[{"left": (0.8, 0.85), "tumour": (0.0, 0.4)}] * 2, *[absent] * 8)
    assert judge(mostly_absent, SAME, remarks=Remarks(new=["tumour"])).decision == "insufficient-evidence"
    assert (
        "held-out cases of 0 patients show the new tumour"
        in judge(BETTER, SAME, remarks=Remarks(new=["tumour"])).reasons[0]
    )


def test_rules_that_make_no_sense_are_refused_all_at_once():
    with pytest.raises(ConfigError) as refused:
        GateRules(structure_fall=-1, fewest_patients=1, confidence=1.0, new_structure_least=1.1)
    for words in ("structure_fall", "fewest_patients", "confidence", "new_structure_least"):
        assert words in refused.value.message


def test_what_falls_too_far_is_a_structure_or_a_case():
    assert not falls_too_far([])
    assert not falls_too_far(cases({"left": (0.8, 0.79)}))
    assert falls_too_far(cases({"left": (0.8, 0.78)}))
    assert falls_too_far(cases({"left": (0.9, 0.79)}, {"left": (0.5, 0.9)}))
