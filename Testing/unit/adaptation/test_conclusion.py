"""The two sentences: what was gained, for whom, how sure that is, and what it costs elsewhere."""

from CrossModalSegLib.adaptation.conclusion import summarise
from CrossModalSegLib.adaptation.gate import Aim, PairedCase, judge


def cases(name: str, *pairs: tuple[float, float]) -> list[PairedCase]:
    return [PairedCase(f"{n}", f"{n}", {"T1w": {name: a}}, {"T1w": {name: b}}) for n, (a, b) in enumerate(pairs)]


SITE = Aim(own=frozenset({"cortex"}))


def said(site, frozen=(), aim: Aim = SITE) -> tuple[str, str]:
    return summarise(judge(site, frozen, aim=aim), aim)


def test_a_certain_gain_says_for_whom_and_that_nothing_is_lost_elsewhere():
    gain, cost = said(cases("cortex", (0.70, 0.80), (0.72, 0.82)), cases("cortex", (0.9, 0.9)))
    assert gain == (
        "For this site's next patients, the new model agrees with the corrections by 81.0% instead of 71.0% (Dice), "
        "measured on 2 patients of this site whom it had not seen; that is no chance."
    )
    assert cost == "On other scanners' and protocols' scans (the frozen cases) it loses nothing that counts."


def test_a_gain_that_may_be_chance_says_how_many_more_corrections_would_make_it_certain():
    gain, cost = said(cases("cortex", (0.70, 0.73), (0.70, 0.79)))
    assert gain.endswith("that may be chance: about 2 more corrected patients would make it certain.")
    assert cost.startswith("What it loses on other scanners cannot be measured")
    (gain, _cost) = said(cases("cortex", (0.70, 0.73)))
    assert gain.endswith("that may be chance: correct cases of a few more patients to know.")


def test_without_anybody_held_out_and_without_a_gain_nothing_is_promised():
    assert said([])[0].startswith("Nobody can say yet whether the new model is better at this site")
    gain = said(cases("cortex", (0.80, 0.70), (0.80, 0.70)))[0]
    assert gain.startswith("The new model is no better than the present one on 2 patients of this site")


def test_what_is_lost_elsewhere_is_named_and_what_is_drawn_otherwise_is_called_that():
    site = cases("cortex", (0.70, 0.80), (0.72, 0.82))
    lost = cases("cortex", (0.9, 0.82))
    assert said(site, lost)[1] == (
        "On other scanners' and protocols' scans (the frozen cases) it loses 8%, most in cortex (-0.08): use the "
        "present "
        "model for those."
    )
    aim = Aim(own=frozenset({"cortex"}), protocol=frozenset({"cortex"}))
    assert "most in cortex (drawn otherwise here)" in said(site, lost, aim)[1]
