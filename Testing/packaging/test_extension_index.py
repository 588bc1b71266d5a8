"""What the checker of Slicer's Extensions Index asks of an extension, as far as it needs no network.

Its rules are those of ``scripts/check_description_files.py`` in Slicer/ExtensionsIndex, read in November 2026, and of
the schema that the entry names. Like the checker, the tests read CMakeLists.txt as text: a variable in an address is
none.
"""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRY = "docs/extension-index/CrossModalSeg.json"
PUBLISHED = "https://github.com/radiology-group/SlicerCrossModalSeg"
COPIED = [ENTRY, "CMakeLists.txt", "pyproject.toml"]
IMAGES = {"ICONURL": r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)',
          "SCREENSHOTURLS": r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)'}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


def the_script():
    """scripts/set_repository.py as a module."""
    path = REPOSITORY / "scripts" / "set_repository.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(tmp_path):
    """A copy of the files that hold the address."""
    for file in COPIED:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, tmp_path / file)
    return tmp_path


@pytest.fixture(params=["as it is", "published"])
def root(request, copied):
    """The files as they are, and with the address of a repository."""
    if request.param == "published":
        the_script().set_repository(PUBLISHED, copied)
    return copied


def entry_of(root):
    return json.loads((root / ENTRY).read_text(encoding="utf-8"))


def variable(root, name):
    (value,) = re.findall(rf'^set\(EXTENSION_{name} "([^"]+)"\)$', (root / "CMakeLists.txt").read_text(), re.MULTILINE)
    return value


def test_the_entry_has_the_keys_and_types_of_its_schema(root):
    entry = entry_of(root)
    kinds = {"$schema": str, "category": str, "scm_url": str, "scm_revision": str, "build_dependencies": list,
             "build_subdirectory": str, "tier": int}  # fmt: skip
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert set(entry) == set(kinds)
    assert [key for key, kind in kinds.items() if type(entry[key]) is not kind] == []
    assert 1 <= entry["tier"] <= 5
    assert entry["category"] == "Segmentation", "one of the categories that the checker knows"
    assert variable(root, "DEPENDS").split() == entry["build_dependencies"]


def test_the_extension_is_named_alike_everywhere(root):
    text = (root / "CMakeLists.txt").read_text()
    assert re.findall(r"project\s*\(\s*([^\s\)]+)", text, re.IGNORECASE)[0] == Path(ENTRY).stem == "CrossModalSeg"


def test_the_repository_is_a_git_address_whose_name_begins_with_slicer(root):
    address = urlsplit(entry_of(root)["scm_url"])
    assert address.scheme == "https"
    assert address.path.split("/")[-1].startswith("Slicer")
    assert variable(root, "HOMEPAGE") == entry_of(root)["scm_url"]


@pytest.mark.parametrize("name", IMAGES)
def test_icon_and_screenshots_are_whole_addresses_of_pictures_in_the_repository(root, name):
    (addresses,) = re.findall(IMAGES[name], (root / "CMakeLists.txt").read_text(), re.IGNORECASE)
    entry = entry_of(root)
    for address in addresses.split():
        beginning = f"{entry['scm_url']}/raw/{entry['scm_revision']}/"
        assert address.startswith(beginning), "and no variable in it"
        assert (REPOSITORY / address.removeprefix(beginning)).read_bytes().startswith(PNG)


def test_the_licence_lies_at_the_top():
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()[:200]


def test_the_readme_has_the_parts_that_the_index_asks_for():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    modules = text.split("## Modules", 1)[1].split("\n## ", 1)[0]
    described = re.findall(r"^\| \[?(?:\*\*)?(\w+)", modules, re.MULTILINE)
    assert {path.stem for path in (REPOSITORY / "CrossModalSeg").glob("*.py")} == set(described) - {"module"}
    assert "tutorial" in text
    assert re.search(r"!\[[^\]]+\]\(docs/\w+\.png\)", text)
    assert "arXiv:2408.07341" in text
    assert "[Apache-2.0](LICENSE)" in text


def test_one_script_sets_the_address_everywhere(copied):
    script, former = the_script(), entry_of(copied)["scm_url"]
    assert [str(file) for file in script.set_repository(PUBLISHED + ".git/", copied)] == COPIED
    assert [file for file in COPIED if former in (copied / file).read_text()] == []
    assert all(PUBLISHED in (copied / file).read_text() for file in COPIED)
    assert script.set_repository(PUBLISHED, copied) == [], "nothing is left to change"


def test_the_address_stands_in_no_other_file():
    former = entry_of(REPOSITORY)["scm_url"]
    folders = [REPOSITORY / name for name in ("CrossModalSeg", "CrossModalSegLib", "docs", "scripts", "training_cli")]
    files = [*REPOSITORY.glob("*.*"), *(file for folder in folders for file in folder.rglob("*.*"))]
    texts = [file for file in files if file.suffix in (".py", ".md", ".txt", ".toml", ".json", ".ui", ".html")]
    holding = {file.relative_to(REPOSITORY).as_posix() for file in texts if former in file.read_text(encoding="utf-8")}
    assert holding == set(COPIED)


@pytest.mark.parametrize(
    "address",
    [
        "http://github.com/group/SlicerCrossModalSeg",
        "git@github.com:group/SlicerCrossModalSeg",
        "https://github.com/group/CrossModalSeg",
        "https://github.com/group/Slicer Cross",
        "https://github.com/group/Slicer${NAME}",
        'https://github.com/group/Slicer"x',
        "SlicerCrossModalSeg",
        "",
    ],
)
def test_an_address_that_the_index_would_not_take_is_refused_and_changes_nothing(copied, address, capsys, monkeypatch):
    script = the_script()
    monkeypatch.setattr(script, "REPOSITORY", copied)
    before = [(copied / file).read_bytes() for file in COPIED]
    with pytest.raises(ValueError, match=r"no address such as|has to begin with Slicer"):
        script.set_repository(address, copied)
    assert script.main([address]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert [(copied / file).read_bytes() for file in COPIED] == before


def test_a_file_that_does_not_hold_the_former_address_is_named_and_nothing_is_changed(copied):
    (copied / "pyproject.toml").write_text("[project]\n")
    before = (copied / "CMakeLists.txt").read_bytes()
    with pytest.raises(ValueError, match=r"pyproject.toml does not hold"):
        the_script().set_repository(PUBLISHED, copied)
    assert (copied / "CMakeLists.txt").read_bytes() == before
