"""What models say that they have learnt from: handed down from parent to child, and told apart by kind."""

import hashlib
import json
from types import SimpleNamespace

from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.site.learnt_cases import LEARNT_FROM, LearntCases, known_patients, learnt_by, learnt_by_child


def model(facts: dict) -> SimpleNamespace:
    return SimpleNamespace(training=facts)


def child(parent: SimpleNamespace, labelled: list[str], unlabelled: list[str]) -> SimpleNamespace:
    """As its bundle has it, which is JSON."""
    return model(json.loads(json.dumps({LEARNT_FROM: learnt_by_child(parent, labelled, unlabelled).to_json()})))


def hashed(*cases: str) -> frozenset[str]:
    return frozenset(hashlib.sha256(case.encode()).hexdigest() for case in cases)


def cases(**patients: str) -> list[DataCase]:
    return [DataCase(case, patient, {}, {}, (1,)) for case, patient in patients.items()]


def test_a_model_says_what_it_and_its_ancestors_have_learnt_from():
    first = child(model({}), ["a"], ["u"])
    second = child(first, ["b"], [])
    assert learnt_by(second) == LearntCases(hashed("a", "b"), hashed("u"))


def test_patients_are_known_by_any_of_their_cases_with_labels_or_without():
    taught = child(model({}), ["a"], ["u"])
    assert known_patients(taught, cases(a="p", b="p", u="q", c="r")) == {"p", "q"}
    assert known_patients(model({"data": "others"}), cases(a="p")) == set()


def test_of_a_model_without_this_entry_the_corrected_cases_are_known():
    older = model({"fine-tuned from": {}, "cases": {"a": {}}})
    assert known_patients(older, cases(a="p", u="q")) == {"p"}
