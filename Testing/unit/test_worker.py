"""The worker process as it runs: what it answers, what cannot disturb it, and that it leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib import worker_requests
from CrossModalSegLib.atomic import remove_staging, staged_folder
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.content_findings import Contents
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.registration import RigidRefinement, rigid_refine
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_image, read_volume, write_volume
from CrossModalSegLib.inference import case_output, contents, inference
from CrossModalSegLib.protocol import Done, Event, Failed, Request, decode_event, encode
from CrossModalSegLib.worker_requests import RequestHandler, explain
from Testing.running_worker import RunningWorker
from Testing.tiny_bundle import dice, true_labels
from Testing.volumes import points_of
from Testing.worker_case import GRID, WorkerCase

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, "-u", "-m", "CrossModalSegLib.worker"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return WorkerCase.written_to(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """One worker for all tests that leave it running."""
    worker = RunningWorker(tmp_path_factory.mktemp("warm") / "stderr.txt", WORKER)
    yield worker
    worker.end()


@pytest.fixture
def new_worker(tmp_path):
    """Starts workers for tests that end them."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, command: list[str] | None = None, **variables: str) -> RunningWorker:
            worker = RunningWorker(tmp_path / "stderr.txt", [*(command or WORKER), *arguments], **variables)
            stack.callback(worker.end)
            return worker

        yield start


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# --- requests to one warm worker


def test_a_pair_is_segmented_and_the_result_is_the_report_and_where_it_lies(warm, case, tmp_path):
    answer = warm.answer(case.request(tmp_path / "out"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert answer.result == report | {"output": str(tmp_path / "out")}
    assert not (tmp_path / "out" / "overview.png").exists()  # a view shows the volumes themselves
    labels, grid, _ = read_segmentation(tmp_path / "out" / "T1w_segmentation.seg.nrrd")
    assert grid.is_close(GRID)
    assert min(dice(labels, true_labels(points_of(GRID)), value) for value in (2, 17, 300)) > 0.8


def test_progress_names_every_stage_and_never_goes_back(warm, case, tmp_path):
    warm.answer(case.request(tmp_path / "before"))
    warm.ask(case.request(tmp_path / "out"))
    *progress, answer = warm.events()
    assert isinstance(answer, Done)
    stages = list(dict.fromkeys(event.stage for event in progress))
    assert stages == ["loading model", "reading", "checking", "resampling", "network", "restoring", "writing"]
    overall = [event.overall for event in progress]
    assert overall == sorted(overall)
    assert all(0 <= event.fraction <= 1 and 0 <= event.overall <= 1 for event in progress)
    after_loading = [event.seconds_left for event in progress if event.stage != "loading model"]
    assert all(seconds is not None and seconds >= 0 for seconds in after_loading)  # the run before was measured


def test_two_requests_at_once_are_answered_in_their_order(warm, case, tmp_path):
    first, second = case.request(tmp_path / "one"), case.request(tmp_path / "two")
    warm.ask(first, second)
    answers = [list(warm.events())[-1] for _ in range(2)]
    assert [(type(answer), answer.id) for answer in answers] == [(Done, first.id), (Done, second.id)]
    assert names(tmp_path) == {"one", "two"}


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"inputs": {"T1w": "/no/such/scan.nrrd"}}, "not-found", "/no/such/scan.nrrd"),
        ({"inputs": {"CT": "/no/such/scan.nrrd"}}, "unknown-modality", '"CT"'),
        ({"bundle": "no-such-bundle"}, "bundle-not-found", "no-such-bundle"),
        ({"inputs": {}}, "bad-request", "inputs is {}"),
        ({"inputs": {"T1w": 3}}, "bad-request", "T1w is 3"),
        ({"device": "abacus"}, "bad-request", "device is 'abacus'"),
        ({"inputs": {"T1w": ""}}, "bad-request", "T1w is ''"),
        ({"colour": "red"}, "bad-request", "arguments colour"),
    ],
)
def test_bad_input_is_told_and_leaves_the_worker_warm_and_the_disk_clean(warm, case, tmp_path, changes, code, what):
    answer = warm.answer(case.request(tmp_path / "out", **changes))
    assert isinstance(answer, Failed)
    assert answer.code == code
    assert what in answer.message
    assert answer.hint
    assert names(tmp_path) == set()
    assert isinstance(warm.answer(Request("ping", "ping")), Done)


def test_an_existing_result_is_not_written_over(warm, case, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert warm.answer(case.request(tmp_path / "out")).code == "output-exists"
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"mine.txt"}


@pytest.mark.parametrize(
    ("line", "what"),
    [(b"good morning\n", "good morning"), (b'{"id": "a"}\n', "missing"), (b"\xff\xfe\n", "is no request")],
)
def test_a_line_that_is_no_request_is_answered_by_an_error_without_id(warm, line, what):
    warm.process.stdin.write(b"\n" + line)
    warm.process.stdin.flush()
    answer = warm.event()
    assert (answer.id, answer.code) == ("", "bad-request")
    assert what in answer.message


def test_an_action_that_is_not_known_is_told_with_those_that_are(warm):
    answer = warm.answer(Request("a", "dance"))
    assert (answer.code, answer.hint) == ("bad-request", "use one of segment, look, register, export, ping")
    assert "dance" in answer.message


def test_arguments_that_an_action_does_not_have_are_refused(warm):
    assert warm.answer(Request("a", "ping", {"loud": True})).code == "bad-request"


def test_a_displaced_scan_is_registered_as_in_this_process(warm, case):
    scans = [case.folder / "a.nrrd", case.folder / "b.nrrd"]
    warm.ask(Request("a", "register", {"fixed": str(scans[0]), "moving": str(scans[1])}))
    *progress, answer = warm.events()
    assert list(dict.fromkeys(event.stage for event in progress)) == ["reading", "registration"]
    expected = rigid_refine(read_volume(scans[0], "T1w"), read_volume(scans[1], "T2w"))
    assert RigidRefinement.from_json(answer.result).translation_mm == pytest.approx(expected.translation_mm, abs=1e-6)
    assert answer.result.keys() == expected.to_json().keys()


def test_what_cannot_be_registered_is_told(warm, case):
    scan = str(case.folder / "a.nrrd")
    assert warm.answer(Request("a", "register", {"fixed": scan, "moving": "/no/such/scan.nrrd"})).code == "not-found"
    assert warm.answer(Request("a", "register", {"fixed": scan})).code == "bad-request"


def displaced_pair(case: WorkerCase, folder: Path) -> dict[str, str]:
    """The case's first scan, and the same anatomy 12 mm away from it on another grid."""
    array, grid = read_image(case.folder / "b.nrrd")
    away = grid.ijk_to_ras.copy()
    away[:3, 3] += (4, 8, 8)
    write_volume(folder / "away.nrrd", array, Grid(grid.shape_kji, away))
    return {"T1w": str(case.folder / "a.nrrd"), "T2w": str(folder / "away.nrrd")}


def test_what_the_scans_show_is_told_and_not_found_out_again_for_the_run(case, tmp_path, monkeypatch):
    looked = []

    def look_into(segmenter, volumes, report, real=contents.look_into):
        looked.append(sorted(volumes))
        return real(segmenter, volumes, report)

    monkeypatch.setattr(contents, "look_into", look_into)
    handler, inputs = Handler(), displaced_pair(case, tmp_path)
    told = handler.answer(Request("a", "look", {"bundle": str(case.folder / "quick"), "inputs": inputs}))
    found = Contents.from_json(told.result)
    assert [finding.code for finding in found.findings] == ["displaced"]
    assert found.refinement.displacement_mm == pytest.approx(12, abs=2)
    report = handler.answer(case.request(tmp_path / "out", inputs=inputs)).result
    assert [one for one in report["preflight"]["findings"] if one["code"] == "displaced"] == told.result["findings"]
    assert looked == [["T1w", "T2w"]]
    handler.answer(case.request(tmp_path / "other"))  # with the scans where they belong
    assert len(looked) == 2


def test_without_the_network_s_packages_the_displacement_is_told_all_the_same(case, tmp_path, monkeypatch):
    def missing():
        raise ImportError("no torch", name="torch")

    monkeypatch.setattr(worker_requests, "_import_engine", missing)
    handler, inputs = Handler(), displaced_pair(case, tmp_path)
    told = handler.answer(Request("a", "look", {"bundle": "brain-mr-pair", "inputs": inputs}))
    assert [finding["code"] for finding in told.result["findings"]] == ["displaced"]
    single = {"T1w": inputs["T1w"]}
    told = handler.answer(Request("b", "look", {"bundle": "brain-mr-pair", "inputs": single}))
    assert Contents.from_json(told.result) == Contents()


# --- what cannot disturb it

NOISY = """
import ctypes, os, subprocess, sys
from CrossModalSegLib import worker, worker_requests

def ping(self, request):
    print("a Python library prints")
    sys.__stdout__.write("and another\\n")
    os.write(1, b"a C library prints\\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"and another"), libc.fflush(None)
    subprocess.run(["echo", "a program prints"], check=True)
    return {"read": sys.stdin.read(), "echo": subprocess.run(["cat"], capture_output=True, text=True).stdout}

worker_requests.RequestHandler._ping = ping
sys.exit(worker.main(sys.argv[1:]))
"""


@posix
def test_what_libraries_print_or_read_does_not_break_the_protocol(new_worker):
    worker = new_worker(command=[sys.executable, "-u", "-c", NOISY])
    worker.ask(Request("a", "ping"), Request("b", "ping"))
    assert [worker.event() for _ in range(2)] == [Done(name, {"read": "", "echo": ""}) for name in "ab"]
    printed = worker.stderr.read_text()
    for line in ("a Python library prints", "a C library prints", "a program prints"):
        assert printed.count(line) == 2


def test_nothing_heavy_is_loaded_before_it_is_needed():
    check = "import sys, CrossModalSegLib.worker; print(*{name.split('.')[0] for name in sys.modules})"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment)
    assert not {"torch", "monai", "numpy", "SimpleITK", "scipy", "safetensors"} & set(run.stdout.split())


@pytest.mark.parametrize(
    "content", ["raise ImportError('no torch here', name='torch')", "raise OSError('libc10.so: no such file')"]
)
def test_a_missing_package_is_named_and_the_worker_leaves_so_that_the_next_one_finds_it(
    new_worker, case, tmp_path, content
):
    (tmp_path / "torch.py").write_text(content)
    worker = new_worker(PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")
    answer = worker.answer(case.request(tmp_path / "out"))
    assert answer.code == "packages-missing"
    assert answer.message.startswith("torch cannot be loaded")
    assert worker.process.wait() == 0


@posix
def test_the_worker_leads_a_process_group_of_its_own(new_worker):
    worker = new_worker()
    assert worker.pid == worker.process.pid
    assert os.getpgid(worker.pid) == worker.pid != os.getpgrp()


# --- its end


def test_a_worker_that_has_nothing_to_do_leaves(new_worker):
    worker = new_worker("--idle-minutes", "0.005")
    assert isinstance(worker.answer(Request("a", "ping")), Done)
    assert worker.process.wait() == 0


def test_a_worker_leaves_when_stdin_closes(new_worker):
    worker = new_worker()
    worker.process.stdin.close()
    assert worker.process.wait() == 0


def test_a_worker_leaves_in_mid_run_when_stdin_closes_and_takes_its_half_result_with_it(new_worker, case, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    worker = new_worker()
    worker.ask(case.request(folder / "out", "slow"))
    worker.wait_for("network")
    assert [name for name in names(folder) if name.endswith(".out")]  # what it has begun to write
    worker.process.stdin.close()
    assert worker.process.wait() == 0
    assert names(folder) == set()


PARENT = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-m", "CrossModalSegLib.worker"], stdin=subprocess.PIPE, stdout=sys.stdout)
worker.stdin.write(sys.argv[1].encode() + b"\\n")
worker.stdin.flush()
time.sleep(600)
"""


@posix
def test_a_worker_whose_parent_is_killed_in_mid_run_is_gone_at_once_and_leaves_nothing(case, tmp_path):
    request = encode(case.request(tmp_path / "out", "slow")).decode()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, request], stdout=subprocess.PIPE, env=environment)
    worker_pid = decode_event(parent.stdout.readline()).pid
    while decode_event(parent.stdout.readline()).stage != "network":
        pass
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    killed = time.monotonic()
    while is_alive(worker_pid):
        time.sleep(0.01)
    print(f"the worker outlived its parent by {time.monotonic() - killed:.2f} s")
    parent.stdout.close()
    assert names(tmp_path) == set()


def is_alive(pid: int) -> bool:
    """Whether a process runs. In a container there may be nobody to ask an orphan for its exit code: not alive."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()  # no /proc: macOS


def test_only_what_was_staged_for_a_folder_is_removed(tmp_path):
    target = tmp_path / "not yet there" / "out[1]"
    for name in ("out[1]", "out1", ".0123456789ab.out", ".hidden.out[1]", ".0123456789ab.out[1].txt"):
        (tmp_path / name).mkdir()
    with contextlib.suppress(KeyboardInterrupt), staged_folder(target) as staging:
        (staging / "half.txt").write_text("half")
        remove_staging(target)
        assert not staging.exists()
        raise KeyboardInterrupt
    assert names(tmp_path) == {"out[1]", "out1", ".0123456789ab.out", ".hidden.out[1]", ".0123456789ab.out[1].txt"}


# --- the command line


def replayed(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "CrossModalSegLib.worker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_request_file_replays_a_run(case, tmp_path):
    (tmp_path / "request.json").write_bytes(encode(case.request(tmp_path / "out")))
    run = replayed("--request", str(tmp_path / "request.json"))
    assert run.returncode == 0
    assert json.loads(run.stdout)["output"] == str(tmp_path / "out")
    assert re.search(r"^ *\d+% network(, \d:\d\d:\d\d left)?$", run.stderr, re.MULTILINE)
    assert names(tmp_path) == {"request.json", "out"}


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "not-found"), (b"{}", "bad-request"), (encode(Request("a", "dance")), "bad-request")],
)
def test_a_request_file_that_cannot_be_replayed_ends_in_one_line_and_exit_code_2(tmp_path, content, code):
    if content is not None:
        (tmp_path / "request.json").write_bytes(content)
    run = replayed("--request", str(tmp_path / "request.json"))
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"error[{code}]: ")
    assert run.stderr.count("\n") == 1


# --- the handler of requests, in this process


class Handler:
    """A `RequestHandler` and what it has told."""

    def __init__(self):
        self.told: list[Event] = []
        self.handler = RequestHandler(self.told.append)

    def answer(self, request: Request) -> Done | Failed:
        self.handler.answer(request)
        return self.told[-1]


def test_the_network_stays_loaded_until_the_bundle_or_the_device_changes(case, tmp_path, monkeypatch):
    import torch

    loaded = []

    def load_network(bundle, real=inference.load_network):
        loaded.append(bundle.name)
        return real(bundle)

    def segment_case(segmenter, *_):
        return {"used": [segmenter.bundle.name, str(segmenter.device)], "device": str(segmenter.device)}

    monkeypatch.setattr(inference, "load_network", load_network)
    monkeypatch.setattr(case_output, "segment_case", segment_case)
    devices = {"cpu": torch.device("cpu"), "cuda": torch.device("cpu:0")}  # the same to torch, another one to us
    monkeypatch.setattr(inference, "choose_device", devices.__getitem__)
    handler = Handler()
    wanted = [("quick", "cpu"), ("quick", "cpu"), ("slow", "cpu"), ("slow", "cpu"), ("slow", "cuda"), ("quick", "cpu")]
    for bundle, device in wanted:
        answer = handler.answer(case.request(tmp_path / "out", bundle, device=device))
        assert answer.result["used"] == [bundle, str(devices[device])]
    assert loaded == ["quick", "slow", "slow", "quick"]


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (InputError("constant", "the value 3 in every voxel", "check the file"), "constant", "the value 3"),
        (MemoryError(), "out-of-memory", "MemoryError"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99 bytes"), "out-of-memory", "99"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory", "2 GiB"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "gpu-fault", "illegal memory"),
        (ValueError("two\nlines"), "internal", "ValueError: two lines"),
        (ModuleNotFoundError("No module named 'monai'", name="monai.data"), "packages-missing", "monai cannot"),
        (ModuleNotFoundError("No module", name="CrossModalSegLib.gone"), "internal", "No module"),
    ],
)
def test_every_exception_becomes_a_typed_answer_in_one_line(error, code, what, capfd):
    answer = explain(error)
    assert answer.code == code
    assert what in answer.message
    assert "\n" not in answer.message
    assert answer.hint
    is_ours_to_explain = isinstance(error, InputError)
    assert (type(error).__name__ in capfd.readouterr().err) is not is_ours_to_explain


def test_memory_that_is_really_not_there_is_told_as_such_and_the_handler_goes_on(case, tmp_path, monkeypatch):
    import torch

    for allocate in (lambda: torch.empty(1 << 60), lambda: np.empty(1 << 60, np.uint8)):
        monkeypatch.setattr(case_output, "segment_case", lambda *_, allocate=allocate: allocate())
        handler = Handler()
        assert handler.answer(case.request(tmp_path / "out")).code == "out-of-memory"
        assert handler.handler.output is None
        assert handler.answer(Request("b", "ping")) == Done("b", {})


def test_a_result_that_cannot_be_written_down_is_an_error_of_its_request(monkeypatch):
    monkeypatch.setattr(worker_requests.RequestHandler, "_ping", lambda *_: {"value": float("nan")})
    assert Handler().answer(Request("a", "ping")).code == "not-encodable"
