"""Training in several processes, as torchrun starts them: one result, written once, and one failure ends all."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.training.processes import ALONE, processes_of_torchrun
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).resolve().parents[3]

# Trains on halves of patches; argument 1 is the folder, 2 the batch of each process, 3 what goes wrong in the second
# one.
SCRIPT = """
import json, math, sys
from dataclasses import replace
from pathlib import Path
import torch
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.processes import processes_of_torchrun
from CrossModalSegLib.training.sources import Samples
from CrossModalSegLib.training.training import Place, train
from Testing.halves import LabelledHalves, UnlabelledHalves

folder, batch, fault = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
config = TrainingConfig(
    patch=(8, 8, 8), network=NetworkConfig((4, 8), 1), semi_supervised=SemiSupervisedConfig(batch=batch),
    training=OptimisationConfig(iterations=6, batch=batch, learning_rate=0.01, warmup=1, validate_every=6),
)

class Faulty(LabelledHalves):
    def sample(self, seed):
        if len(self.seeds) == 2 and fault == "raises":
            raise RuntimeError("a disk is gone")
        sample = super().sample(seed)
        return replace(sample, volumes=sample.volumes * math.nan) if len(self.seeds) == 3 and fault == "nan" else sample

reported = []
with processes_of_torchrun(torch.device("cpu")) as (processes, device):
    source = Faulty() if processes.rank == 1 else LabelledHalves()
    samples = Samples(source, UnlabelledHalves(), LabelledHalves())
    weights = train(config, 2, samples, Place(folder, device, processes), reported.append)
    total = sum(float(value.double().sum()) for value in weights.values())
    dice = reported[-1].mean_dice if reported else None
    result = {"weights": total, "losses": [p.loss for p in reported], "dice": dice}
    (folder / f"rank{processes.rank}.json").write_text(json.dumps(result))
"""


def torchrun(*arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=240, check=False
    )


def results(folder: Path, batch: int, processes: int) -> list[dict]:
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    run = torchrun(folder / "script.py", folder, batch, "nothing", processes=processes)
    assert run.returncode == 0, run.stderr
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


def test_without_torchrun_there_is_one_process_and_nothing_to_wait_for():
    with processes_of_torchrun(CPU) as (processes, device):
        assert processes == ALONE
        assert device == CPU
        module = torch.nn.Linear(1, 1)
        assert processes.together(module, CPU) is module
        assert processes.mean(3.0, CPU) == 3.0
        processes.wait()


@pytest.mark.slow
def test_two_processes_train_one_model_about_as_one_process_with_both_batches_does(tmp_path):
    (first, second), (alone,) = results(tmp_path / "two", 1, 2), results(tmp_path / "one", 2, 1)
    assert first["weights"] == second["weights"]
    assert second["losses"] == []  # the first one reports
    assert first["losses"] == pytest.approx(alone["losses"], rel=0.05)
    assert first["dice"] == pytest.approx(alone["dice"], abs=0.1)
    assert [item.name for item in (tmp_path / "two").iterdir() if item.suffix == ".pt"] == ["checkpoint.pt"]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "said"), [("nan", "its gradient nan at step 2"), ("raises", "a disk is gone")])
def test_what_fails_in_one_process_ends_all(tmp_path, fault, said):
    (tmp_path / "script.py").write_text(SCRIPT)
    run = torchrun(tmp_path / "script.py", tmp_path, 1, fault)
    assert run.returncode != 0
    assert said in run.stderr
    stopped = re.findall(r"TrainingError: error\[loss-not-finite\]: .* at step 2", run.stderr)
    assert len(stopped) == (2 if fault == "nan" else 0)  # gradients are averaged: one that is not finite is so in both
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.slow
def test_the_command_trains_in_two_processes_and_publishes_once(tmp_path):
    from Testing.unit.commands.test_train_command import CONFIG, write_cases

    write_cases(tmp_path / "cases", 4, unlabelled=1)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    arguments = ["--data", tmp_path / "cases", "--output", tmp_path / "run", "--config", tmp_path / "tiny.toml"]
    run = torchrun("-m", "CrossModalSegLib.cli", "train", *arguments, "--device", "cpu")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("published") == 1
    assert run.stderr.count("2 training cases, 1 for validation, 1 case without labels") == 1
    assert "on cpu in 2 processes, effective batch 2" in run.stderr
    assert load_bundle(tmp_path / "run" / "tiny").label_map.channels == (0, 2, 41)
    assert sorted(item.name for item in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt", "curves.png", "tensorboard", "tiny",
    ]  # fmt: skip
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_fine_tuning_in_two_processes_ends_with_one_candidate_and_goes_on_where_it_was_stopped(tmp_path):
    intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    make_site(tmp_path / "site", 2, 1)
    settings = "finetune = { most_iterations = 4, validations = 1 }\ntraining = { loss_stride = 2 }\n"
    (tmp_path / "quick.toml").write_text(settings)
    common = [
        REPOSITORY / "training_cli" / "finetune.py",
        tmp_path / "site",
        "--device",
        "cpu",
        "--base",
        tmp_path / "tiny",
    ]
    run = torchrun(*common, "--budget", 60, "--config", tmp_path / "quick.toml")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("the candidate is kept in") == 1
    assert run.stderr.count("2 corrected cases of 2 patients") == 1
    (folder,) = (tmp_path / "site" / "runs").iterdir()
    first = load_bundle(folder / "tiny-site-1").sha256
    (folder / "metrics.json").unlink()
    shutil.rmtree(folder / "tiny-site-1")
    again = torchrun(*common, "--resume")
    assert again.returncode == 0, again.stderr
    assert load_bundle(folder / "tiny-site-1").sha256 == first


@pytest.mark.parametrize(
    "variables",
    [{"WORLD_SIZE": "many"}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}],
)
def test_a_part_of_torchruns_environment_is_told_and_not_guessed_from(variables, monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=f"not-torchrun.*WORLD_SIZE is '{variables['WORLD_SIZE']}'"),
        processes_of_torchrun(CPU),
    ):
        pytest.fail("the block must not run")


# --- two nodes, here as two torchruns with one rendezvous

# A step takes as many seconds as argument 3 says; the file "seen" has the number of the last sample.
WAITING = """
        time.sleep(float(fault))
        (folder / "seen").write_text(str(len(self.seeds)))
"""
LONG = SCRIPT
for old, new in {
    "import json, math, sys": "import json, math, sys, time",
    "iterations=6": "iterations=40",
    "validate_every=6": "validate_every=40, checkpoint_minutes=0",
    "        if len(self.seeds) == 2": f"{WAITING}        if len(self.seeds) == 2",
}.items():
    LONG = LONG.replace(old, new)


def start_nodes(script: Path, *arguments: object) -> list[subprocess.Popen[str]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{listening.getsockname()[1]}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}"]
    options += ["--rdzv-id=one", "--local-addr=127.0.0.1", "--max-restarts=0"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, str(script), *map(str, arguments)]
    hosting = [["--rdzv-conf=is_host=1"], ["--rdzv-conf=is_host=0"]]
    return [
        subprocess.Popen(
            [*command[:3], *host, *command[3:]],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for host in hosting
    ]  # fmt: skip


@pytest.mark.slow
def test_a_node_that_dies_ends_the_run_with_one_message_and_it_goes_on_where_the_checkpoint_is(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(LONG)
    first, second = start_nodes(script, tmp_path, 1, "0.1")
    deadline = time.monotonic() + 120
    while not ((tmp_path / "checkpoint.pt").exists() and (tmp_path / "seen").exists()):
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    node = psutil.Process(second.pid)
    for process in [*node.children(recursive=True), node]:  # the node is gone, all of it at once
        process.kill()
    second.communicate()
    said, _ = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "process-lost" in said
    assert "has lost the others" in said
    assert not (tmp_path / "rank0.json").exists()
    step = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 40
    for node in (nodes := start_nodes(script, tmp_path, 1, "0")):
        said, _ = node.communicate(timeout=200)
        assert node.returncode == 0, said
    assert len(nodes) == 2
    results = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert results[0]["weights"] == results[1]["weights"]
    assert len(results[0]["losses"]) == 40 - step  # it went on


@pytest.mark.slow
def test_nodes_without_a_common_folder_are_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.replace(
            "folder, batch, fault =", "rank = int(__import__('os').environ['RANK'])\nfolder, batch, fault ="
        ).replace("Path(sys.argv[1]), int", "Path(sys.argv[1]) / str(rank), int")
    )
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    run = torchrun(script, tmp_path, 1, "nothing")
    assert run.returncode == 0, run.stderr  # from the beginning nothing is wrong
    run = torchrun(script, tmp_path, 1, "nothing")  # the first one alone has a checkpoint
    assert run.returncode != 0
    assert "processes-differ" in run.stderr
