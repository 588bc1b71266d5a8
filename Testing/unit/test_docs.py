"""The documents keep up with the code: links lead somewhere, every key, command and report field is described."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import CrossModalSegLib
from CrossModalSegLib.cli import COMMANDS
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.preflight import Preflight, VolumeFacts
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.anatomy import Growth, LesionConfig
from CrossModalSegLib.synthesis.synthesis import ContrastPrior, SynthesisConfig
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig

LIBRARY = Path(CrossModalSegLib.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
MODULE_DOCUMENT = REPOSITORY / "docs" / "slicer-module.md"
TRAINING = REPOSITORY / "docs" / "training.md"
RELIABILITY = REPOSITORY / "docs" / "reliability.md"
DOCUMENTS = [README, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_ROW = re.compile(r"^\| (`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*) \|", re.MULTILINE)
CONFIGURATION = [
    TrainingConfig,
    NetworkConfig,
    OptimisationConfig,
    SemiSupervisedConfig,
    SynthesisConfig,
    IntensityRule,
    ContrastPrior,
    Growth,
    LesionConfig,
]
KEYS = [(kind, field) for kind in CONFIGURATION for field in dataclasses.fields(kind)]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def headings_of(path: Path) -> set[str]:
    """Anchors of a document's headings, as web views of Markdown make them."""
    titles = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def section_of(kind: type) -> str:
    """The part of docs/training.md whose heading names ``kind``."""
    return re.split(r"^#+ ", text_of(TRAINING).split(f"`{kind.__name__}`", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def default_in_words(field: dataclasses.Field) -> str | None:
    """A number, text or list as TOML writes it; None where the table says it in words."""
    default = field.default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"' if default else None
    if isinstance(default, tuple):
        return str(list(default)).replace("'", '"') if default else None
    return str(default) if isinstance(default, int | float) else None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_or_heading(document):
    targets = [link for link in LINK.findall(text_of(document)) if "://" not in link]
    for target in targets:
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{document.name} links to {target}, which does not exist"
        assert not anchor or anchor in headings_of(file), f"{document.name} links to {target}: no such heading"


@pytest.mark.parametrize(("kind", "field"), KEYS, ids=[f"{kind.__name__}.{field.name}" for kind, field in KEYS])
def test_every_configuration_key_is_in_the_table_of_its_class_with_its_default(kind, field):
    rows = [line for line in section_of(kind).splitlines() if line.startswith(f"| `{field.name}` |")]
    assert len(rows) == 1
    expected = default_in_words(field)
    assert expected is None or f"`{expected}`" in rows[0]


@pytest.mark.parametrize("kind", CONFIGURATION, ids=lambda kind: kind.__name__)
def test_no_configuration_key_is_described_that_does_not_exist(kind):
    described = set(re.findall(r"^\| `(\w+)` \|", section_of(kind), re.MULTILINE))
    assert described == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert f"crossmodalseg {command}" in text_of(README)


def test_every_code_in_the_module_s_document_is_one_that_the_module_or_the_library_gives():
    table = text_of(MODULE_DOCUMENT).split("## Troubleshooting", 1)[1].split("\n## ", 1)[0]
    documented = {code for row in CODE_ROW.findall(table) for code in re.findall(r"`([^`]+)`", row)}
    folders = (LIBRARY, REPOSITORY / "CrossModalSeg")
    source = "\n".join(text_of(path) for folder in folders for path in folder.rglob("*.py"))
    assert "worker-died" in documented
    assert {code for code in documented if f'"{code}"' not in source} == set()


def test_every_error_and_warning_code_in_the_readme_is_one_that_the_library_gives():
    troubleshooting = text_of(README).split("## Troubleshooting", 1)[1].split("\n## ", 1)[0]
    documented = {code for row in CODE_ROW.findall(troubleshooting) for code in re.findall(r"`([^`]+)`", row)}
    source = "\n".join(text_of(path) for path in LIBRARY.rglob("*.py"))
    assert "no-overlap" in documented
    assert {code for code in documented if f'"{code}"' not in source} == set()


def test_every_finding_of_the_preflight_is_explained_in_the_readme():
    source = "\n".join(text_of(path) for path in LIBRARY.rglob("*.py"))
    codes = set(re.findall(r'Finding\(\s*[^,()]+, "([a-z-]+)"', source))
    assert {"low-overlap", "sform-qform", "qform-unusable"} <= codes
    assert {code for code in codes if f"`{code}`" not in text_of(README)} == set()


def test_every_field_of_the_report_is_explained_in_the_readme():
    tree = ast.parse(text_of(LIBRARY / "inference" / "case_output.py"))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "case_report")
    report = next(node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    assert isinstance(report, ast.Dict)
    fields = {key.value for key in report.keys if isinstance(key, ast.Constant)}
    fields |= {field.name for kind in (Preflight, VolumeFacts, Finding) for field in dataclasses.fields(kind)}
    assert "agreement" in fields
    table = text_of(README).split("`report.json`:", 1)[1].split("\n## ", 1)[0]
    assert {field for field in fields if not re.search(rf"`(preflight\.)?{field}\b", table)} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_file_named_in_a_document_exists(document):
    named = set(re.findall(r"`([\w/]+\.py)`", text_of(document)))
    folders = ("CrossModalSeg", "CrossModalSegLib", "Testing", "scripts", "training_cli")
    there = [path.relative_to(REPOSITORY).as_posix() for name in folders for path in (REPOSITORY / name).rglob("*.py")]
    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)} == set()


def test_every_test_that_the_promises_name_is_there():
    named = re.findall(r"\[([^\]]+)\]\(\.\./(Testing/[^)\s]+\.py)\)", text_of(RELIABILITY))
    promised = [(sentence, file) for sentence, file in named if Path(file).name != sentence]
    assert len(promised) > 50
    missing = [
        f"{file}: {sentence}"
        for sentence, file in promised
        if f"def test_{sentence.replace(' ', '_')}(" not in text_of(REPOSITORY / file)
    ]
    assert missing == []


def test_no_other_system_is_claimed_than_the_one_that_was_tested():
    systems = re.findall(r'"Operating System :: ([^"]+)"', text_of(REPOSITORY / "pyproject.toml"))
    assert systems == ["POSIX :: Linux"]
    assert "You need Linux" in text_of(README)
