"""A guard that nobody would miss is none: each is taken out of a copy of the source, where its test has to fail."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from Testing.conftest import REPOSITORY

COPIED = (
    "CrossModalSegLib",
    "CrossModalSeg/CrossModalSegApp",
    "Testing",
    "pyproject.toml",
)


@dataclass(frozen=True)
class Guard:
    """``code``, which is in ``file`` exactly once, becomes ``without``; ``test`` then fails."""

    file: str
    code: str
    without: str
    test: str


GUARDS = {
    "only an earlier result is replaced": Guard(
        "CrossModalSegLib/atomic.py",
        "if not (target / marker).is_file():",
        "if False:",
        "Testing/unit/test_atomic.py::test_overwrite_never_deletes_a_folder_that_is_not_an_earlier_result",
    ),
    "what was moved is put back": Guard(
        "CrossModalSegLib/staging.py",
        "            if journal.exists():\n                undo_moves(journal)\n",
        "",
        "Testing/unit/test_atomic_steps.py::test_a_step_that_fails_leaves_old_or_new_and_is_one_typed_error",
    ),
    "what others write stays": Guard(
        "CrossModalSegLib/staging.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        return True\n",
        "        return True\n",
        "Testing/unit/test_atomic_steps.py::test_what_another_process_is_writing_just_now_stays",
    ),
    "a scan in the output folder is refused": Guard(
        "CrossModalSegLib/inference/case_output.py",
        "    _refuse_inputs_within(output, inputs)\n",
        "",
        "Testing/unit/inference/test_case_output.py::test_a_scan_in_the_output_folder_is_not_deleted_with_it",
    ),
    "no pickle": Guard(
        "CrossModalSegLib/bundles/bundle.py",
        "        _refuse_pickles(self.path)\n",
        "",
        "Testing/unit/bundles/test_bundle.py::test_a_pickle_in_the_folder_is_refused",
    ),
    "hashes of a bundle": Guard(
        "CrossModalSegLib/bundles/bundle.py",
        "    if actual != expected:\n",
        "    if False:\n",
        "Testing/unit/bundles/test_bundle.py::test_a_changed_file_is_named_with_both_hashes",
    ),
    "weights are finite": Guard(
        "CrossModalSegLib/bundles/bundle.py",
        "        if broken:\n",
        "        if False:\n",
        "Testing/unit/bundles/test_bundle.py::test_weights_that_are_not_finite_on_disk_are_found_even_with_matching_hashes",
    ),
    "names in a zip file": Guard(
        "CrossModalSegLib/imaging/zip_files.py",
        "    if outside:\n",
        "    if False:\n",
        "Testing/unit/bundles/test_bundle_library.py::test_a_zip_with_names_that_lead_out_of_it_is_refused_before_it_is_unpacked",
    ),
    "size of a zip file": Guard(
        "CrossModalSegLib/imaging/zip_files.py",
        "    if size > largest_bytes:\n",
        "    if False:\n",
        "Testing/unit/bundles/test_bundle_library.py::test_a_zip_that_would_fill_the_disk_is_refused_before_it_is_unpacked",
    ),
    "columns of a table": Guard(
        "CrossModalSegLib/commands/case_table.py",
        "    if twice:\n",
        "    if False:\n",
        "Testing/unit/commands/test_segment_command.py::test_all_that_is_wrong_with_a_table_is_one_line",
    ),
    "the token": Guard(
        "CrossModalSeg/CrossModalSegApp/web/access.py",
        'if not secrets.compare_digest(request.path.split("/")[1].encode(), self.token.encode()):',
        "if False:",
        "Testing/web/test_access.py::test_without_the_token_in_its_place_everything_is_refused",
    ),
    "other origins": Guard(
        "CrossModalSeg/CrossModalSegApp/web/access.py",
        "        if not is_own and (origin is not None or _is_websocket(request)):\n",
        "        if False:\n",
        "Testing/web/test_access.py::test_pages_of_other_origins_are_refused",
    ),
    "the limit of uploads": Guard(
        "CrossModalSeg/CrossModalSegApp/web/uploads.py",
        "                self._refuse_above(len(chunk), batch)\n",
        "",
        "Testing/web/test_transfers.py::test_a_length_that_is_kept_secret_does_not_lift_the_limit",
    ),
    "fields of a message": Guard(
        "CrossModalSegLib/protocol.py",
        "    if wrong := names ^ set(content):\n",
        "    if wrong := set():\n",
        "Testing/unit/test_protocol.py::test_what_is_no_request_is_refused",
    ),
}
guards = pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)


@guards
def test_the_guard_is_where_it_is_said_to_be(guard):
    assert (REPOSITORY / guard.file).read_text(encoding="utf-8").count(guard.code) == 1
    file, name = guard.test.split("::")
    assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8")


@pytest.mark.slow
@guards
def test_without_the_guard_its_test_fails(guard, tmp_path):
    for name in COPIED:
        source, target = REPOSITORY / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    file = tmp_path / guard.file
    file.write_text(file.read_text(encoding="utf-8").replace(guard.code, guard.without), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", guard.test],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, f"{guard.test} has not failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert " failed" in done.stdout.splitlines()[-1]
