"""What models say that they have learnt from: handed down from parent to child, and told apart by kind."""

import hashlib
from types import SimpleNamespace

from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.site.learnt_cases import known_patients, learnt_by, learnt_by_child


def model(facts: dict) -> SimpleNamespace:
    return SimpleNamespace(metadata={"crossmodalseg": {"training": facts}})


def hashed(*cases: str) -> set[str]:
    return {hashlib.sha256(case.encode()).hexdigest() for case in cases}


def cases(**patients: str) -> list[DataCase]:
    return [DataCase(case, patient, {}, {}, (1,)) for case, patient in patients.items()]


def test_a_model_says_what_it_and_its_ancestors_have_learnt_from():
    first = model(learnt_by_child(model({}), ["a"], ["u"]))
    second = model(learnt_by_child(first, ["b"], []))
    assert learnt_by(second) == {"labelled": hashed("a", "b"), "unlabelled": hashed("u")}


def test_patients_are_known_by_any_of_their_cases_with_labels_or_without():
    taught = model(learnt_by_child(model({}), ["a"], ["u"]))
    assert known_patients(taught, cases(a="p", b="p", u="q", c="r")) == {"p", "q"}
    assert known_patients(model({"data": "others"}), cases(a="p")) == set()


def test_of_a_model_without_this_entry_the_corrected_cases_are_known():
    older = model({"fine-tuned from": {}, "cases": {"a": {}}})
    assert known_patients(older, cases(a="p", u="q")) == {"p"}
