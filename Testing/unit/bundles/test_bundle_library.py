"""The user's own bundles: what comes in is whole and harmless, or nothing comes in; only what is theirs is removed."""

import json
import os
import shutil
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from CrossModalSegLib.bundles import bundle_library
from CrossModalSegLib.bundles.bundle import list_bundles, load_bundle
from CrossModalSegLib.bundles.bundle_library import import_bundle, is_removable, remove_bundle
from CrossModalSegLib.bundles.bundle_metadata import SEAL_FILE, SECTION, metadata_sha256
from CrossModalSegLib.errors import BundleError, OutputError
from Testing.tiny_bundle import random_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A good bundle, published once."""
    return random_bundle(tmp_path_factory.mktemp("made") / "two-balls")


@pytest.fixture
def given(made, tmp_path):
    """A copy of it that a test may spoil, in a folder of its own."""
    return Path(shutil.copytree(made.path, tmp_path / "given" / "two-balls"))


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """This user's bundle folder, not there yet; nothing else on the search path but what the program brings."""
    monkeypatch.delenv("CROSSMODALSEG_BUNDLES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "crossmodalseg" / "bundles"


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return target


def added(archive: Path, name: str, content: bytes = b"x", mode: int = 0) -> Path:
    """``archive`` with one more entry."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(entry, content)
    return archive


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        import_bundle(path)
    return caught.value


# --- what comes in


def test_a_folder_is_taken_over_and_found_by_its_name(given, own, made):
    bundle = import_bundle(given)
    assert bundle.path == own / "two-balls"
    assert bundle.sha256 == made.sha256
    assert load_bundle("two-balls").path == own / "two-balls"
    assert given.is_dir()


@pytest.mark.parametrize("prefix", ["two-balls/", ""])
def test_a_zip_holds_the_bundle_or_is_it(given, own, made, prefix):
    archive = zipped(given, given.parent / "two-balls.zip", prefix)
    assert import_bundle(archive).sha256 == made.sha256
    assert entries(own) == ["two-balls"]


def test_a_zip_that_is_the_bundle_gives_it_its_own_name_made_fit_for_a_folder(given, own):
    assert import_bundle(zipped(given, given.parent / "My model (2).zip")).name == "My-model-2"
    assert entries(own) == ["My-model-2"]


def test_a_folder_may_hold_the_bundle_beside_other_things(given, own):
    (given.parent / "notes.txt").write_text("notes")
    assert import_bundle(given.parent).path == own / "two-balls"


def test_what_macos_packs_beside_the_bundle_does_not_matter(given, own):
    archive = zipped(given, given.parent / "two-balls.zip", "two-balls/")
    added(archive, "__MACOSX/two-balls/configs/._metadata.json")
    assert import_bundle(archive).path == own / "two-balls"


def test_another_target_folder_can_be_chosen(given, own, tmp_path):
    assert import_bundle(given, tmp_path / "site" / "models").path == tmp_path / "site" / "models" / "two-balls"
    assert entries(own) == []


def test_only_what_the_metadata_list_is_taken_over(given):
    (given / "scripts").mkdir()
    (given / "scripts" / "__init__.py").write_text("raise SystemExit")
    assert entries(import_bundle(given).path) == ["configs", "docs", "models"]


def test_before_packages_are_installed_all_hashes_are_checked_still(given, own, monkeypatch):
    monkeypatch.setattr(bundle_library.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "safetensors", None)  # importing it fails
    assert import_bundle(given).path == own / "two-balls"
    remove_bundle("two-balls")
    (given / "models" / "model.safetensors").write_bytes(b"other")
    assert refusal(given).code == "bundle-corrupt"


# --- what is refused


def test_a_damaged_file_is_refused_by_the_name_that_the_user_gave(given, own):
    (given / "docs" / "README.md").write_text("forged")
    archive = zipped(given, given.parent / "two-balls.zip", "two-balls/")
    error = refusal(archive)
    assert error.code == "bundle-corrupt"
    assert str(archive) in error.message
    assert "docs/README.md" in error.message
    assert entries(own) == []


def test_a_missing_file_is_refused(given, own):
    (given / "models" / "model.safetensors").unlink()
    assert refusal(given).code == "bundle-corrupt"
    assert entries(own) == []


@pytest.mark.parametrize("name", ["models/old.pt", "extra.PKL"])
def test_a_pickle_is_refused_even_where_no_one_would_open_it(given, own, name):
    assert refusal(added(zipped(given, given.parent / "two-balls.zip"), name)).code == "bundle-unsafe"
    (given / name).write_bytes(b"x")
    assert refusal(given).code == "bundle-unsafe"
    assert entries(own) == []


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/outside.txt", "a/../../b", "C:/outside.txt", "..\\outside.txt"]
)
def test_a_zip_with_names_that_lead_out_of_it_is_refused_before_it_is_unpacked(given, name, monkeypatch):
    archive = added(zipped(given, given.parent / "two-balls.zip", "two-balls/"), name)
    monkeypatch.setattr(zipfile.ZipFile, "extract", lambda *_arguments: pytest.fail("must not be unpacked"))
    error = refusal(archive)
    assert error.code == "bundle-unsafe"
    assert name in error.message


def test_a_zip_with_a_link_is_refused(given, own):
    archive = zipped(given, given.parent / "two-balls.zip", "two-balls/")
    error = refusal(added(archive, "two-balls/models/link", b"/etc/passwd", stat.S_IFLNK | 0o777))
    assert (error.code, entries(own)) == ("bundle-unsafe", [])


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_folder_with_a_link_is_refused(given):
    weights = given / "models" / "model.safetensors"
    (given.parent / "elsewhere").write_bytes(weights.read_bytes())
    weights.unlink()
    weights.symlink_to(given.parent / "elsewhere")
    error = refusal(given)
    assert error.code == "bundle-unsafe"
    assert "model.safetensors" in error.message


def test_metadata_that_name_files_elsewhere_are_refused(given):
    file = given / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata[SECTION]["sha256"]["C:/windows.txt"] = "0" * 64
    file.write_text(json.dumps(metadata))
    assert refusal(given).code == "bundle-unsafe"


def test_a_zip_that_would_fill_the_disk_is_refused_before_it_is_unpacked(given, monkeypatch):
    archive = zipped(given, given.parent / "two-balls.zip", "two-balls/")
    monkeypatch.setattr(bundle_library, "LARGEST_UNPACKED_BYTES", 100_000_000)
    assert refusal(added(archive, "two-balls/zeros", b"\0" * 100_000_001)).code == "bundle-unsafe"
    monkeypatch.setattr(bundle_library, "LARGEST_UNPACKED_BYTES", 200_000_000)
    assert import_bundle(archive).name == "two-balls"


def test_several_bundles_at_once_are_refused_by_name(given):
    shutil.copytree(given, given.parent / "another")
    error = refusal(given.parent)
    assert error.code == "not-a-bundle"
    assert "another, two-balls" in error.message


def test_what_is_no_bundle_is_said_to_be_none(tmp_path, own):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    zipfile.ZipFile(tmp_path / "nothing.zip", "w").close()
    for name in ("empty", "text.zip", "nothing.zip", "missing.zip"):
        error = refusal(tmp_path / name)
        assert error.code == "not-a-bundle"
        assert name in error.message
    assert entries(own) == []


def test_a_zip_that_ends_early_or_is_altered_is_refused(given, own):
    archive = zipped(given, given.parent / "two-balls.zip", "two-balls/")
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    assert refusal(archive).code == "not-a-bundle"
    middle = whole.index(b"model.safetensors") + 400
    archive.write_bytes(
        whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 50]) + whole[middle + 50 :]
    )
    assert refusal(archive).code == "not-a-bundle"
    assert entries(own) == []


def test_what_the_disk_garbles_on_the_way_does_not_appear(given, own, monkeypatch):
    def garbled(source, target):
        Path(target).write_bytes(Path(source).read_bytes().replace(b"tests", b"texts"))

    monkeypatch.setattr(shutil, "copyfile", garbled)
    assert refusal(given).code == "bundle-corrupt"
    assert entries(own) == []


# --- names that are taken


def test_the_same_bundle_again_is_the_one_that_is_there(given):
    first = import_bundle(given)
    before = (first.path / "configs" / "metadata.json").stat().st_mtime_ns
    assert import_bundle(given).path == first.path
    assert (first.path / "configs" / "metadata.json").stat().st_mtime_ns == before


def test_the_same_bundle_again_puts_damaged_files_right(given):
    card = import_bundle(given).path / "docs" / "README.md"
    card.write_text("damaged")
    import_bundle(given).verify()
    assert card.read_text() == "A model for tests.\n"


def changed(folder: Path) -> str:
    """Another version of the bundle in ``folder``; its new hash."""
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text()) | {"version": "2.0.0"}
    file.write_text(json.dumps(metadata))
    (folder / SEAL_FILE).write_text(metadata_sha256(metadata))
    return metadata_sha256(metadata)


def test_another_bundle_of_the_same_name_is_refused_and_the_first_one_kept(given, own, made):
    import_bundle(given)
    changed(given)
    error = refusal(given)
    assert error.code == "bundle-exists"
    assert str(own / "two-balls") in error.message
    assert load_bundle("two-balls").sha256 == made.sha256


def test_a_name_that_came_with_the_program_is_taken_too(given, own):
    starter = given.rename(given.with_name("brain-mr-pair"))
    assert refusal(starter).code == "bundle-exists"
    assert import_bundle(starter, own).path == own / "brain-mr-pair"  # asked for by its folder


def test_a_folder_that_is_no_bundle_is_never_replaced(given, own):
    (own / "two-balls").mkdir(parents=True)
    (own / "two-balls" / "precious.txt").write_text("precious")
    assert refusal(given).code == "bundle-exists"
    assert entries(own / "two-balls") == ["precious.txt"]


def test_where_nothing_can_be_written_it_is_said_where(given):
    with pytest.raises(OutputError, match=r"cannot-write.*README\.md"):
        import_bundle(given, given / "docs" / "README.md")


# --- removing


def test_ones_own_bundle_is_removed_and_nothing_else(given, own):
    bundle = import_bundle(given)
    assert is_removable(bundle)
    remove_bundle("two-balls")
    assert entries(own) == []
    assert not is_removable(bundle)
    assert given.is_dir()


def test_a_bundle_of_the_same_name_elsewhere_is_not_ones_own(given):
    import_bundle(given)
    assert not is_removable(load_bundle(given))


def test_what_came_with_the_program_is_not_removed():
    starter = next(bundle for bundle in list_bundles() if bundle.name == "brain-mr-pair")
    assert not is_removable(starter)
    with pytest.raises(BundleError, match="not-removable"):
        remove_bundle("brain-mr-pair")
    starter.verify_files()


@pytest.mark.parametrize("name", ["missing", "", "..", "two-balls/configs"])
def test_a_name_that_is_not_there_is_not_removed(given, own, name):
    import_bundle(given)
    with pytest.raises(BundleError, match=r"bundle-not-found.*your own bundles are: two-balls"):
        remove_bundle(name)
    assert entries(own) == ["two-balls"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_bundle_that_is_linked_to_loses_the_link_alone(given, own):
    own.mkdir(parents=True)
    (own / "two-balls").symlink_to(given)
    assert is_removable(load_bundle("two-balls"))
    remove_bundle("two-balls")
    assert entries(own) == []
    load_bundle(given)
