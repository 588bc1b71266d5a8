"""The page in each of its states under axe-core, whose rules are those of the WCAG that a program can check."""

from pathlib import Path

import pytest

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
TOOLS = (
    ("1", "Paint"),
    ("3", "Scissors"),
    ("4", "Threshold"),
    ("5", "Islands"),
    ("6", "Smoothing"),
    ("7", "Logical operators"),
    ("8", "Draw"),
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci --prefix Testing/web"),
]


def findings(page):
    """What axe-core calls serious: (rule, element) of each."""
    page.browser.execute_script(AXE.read_text(encoding="utf-8"))
    run = """const [rules, done] = arguments;
        axe.run(document, {runOnly: {type: 'tag', values: rules}}).then((found) => done(found.violations))"""
    violations = page.browser.execute_async_script(run, RULES)
    return [(one["id"], node["html"][:160]) for one in violations if one["impact"] in SERIOUS for node in one["nodes"]]


def test_scans_alone(page):
    assert findings(page) == []


def test_a_result_and_its_review(result):
    result.press("n")
    assert findings(result) == []


@pytest.mark.parametrize(("key", "tool"), TOOLS)
def test_the_tools_with_their_options(result, key, tool):
    result.press(key)
    result.wait(lambda: result.tools_in_use() == [tool], tool)
    assert findings(result) == []
    result.press("0")


def test_surfaces(result):
    result.click("mode-both")
    result.settle()
    assert findings(result) == []
    result.click("mode-slices")
    result.settle()


def test_a_question(result):
    result.click("close-all")
    result.wait(lambda: result.has("dialog-text"), "the question")
    assert findings(result) == []
    result.click("dialog-no")
    result.wait(lambda: not result.has("dialog-text"), "the dialog to close")


def test_the_page_may_be_enlarged(page):
    content = page.browser.execute_script("return document.querySelector('meta[name=viewport]').content")
    assert "user-scalable" not in content
    assert "maximum-scale" not in content
