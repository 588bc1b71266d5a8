"""A provisioned federation on one machine: a server and two hospitals, processes of their own, with certificates.

    unshare --net sh -c "ip link set lo up && python -m Testing.Benchmarks.federation.provisioned --folder /tmp/real"

NVFlare's server listens on all interfaces, so that it runs in a network namespace of its own. Each hospital knows the
folder of its own site only, by the environment variable CROSSMODALSEG_SITE.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from nvflare.fuel.flare_api.flare_api import new_secure_session

from CrossModalSegLib.cli import main as crossmodalseg
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

HOSPITALS = ("north", "south")
ADMIN = "admin@example.org"
PROJECT = """api_version: 3
name: trial
description: two hospitals
participants:
  - {name: localhost, type: server, org: example, fed_learn_port: 8002}
  - {name: north, type: client, org: example}
  - {name: south, type: client, org: example}
  - {name: admin@example.org, type: admin, org: example, role: project_admin}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
    args: {template_file: [master_template.yml]}
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: {config_folder: config}
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
"""
FEDERATION = """[federation]
name = "trial"
parent = "{parent}"
rounds = 1
steps = 3
[training]
loss_stride = 2
"""
CLASSES = {
    "localhost": ["CrossModalSegLib.federation.flare.FederationController"],
    **{name: ["CrossModalSegLib.federation.flare.HospitalExecutor"] for name in HOSPITALS},
}


def main() -> None:
    """Provision, start, submit, and show the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    folder, minutes = (args := parser.parse_args()).folder, args.minutes
    folder.mkdir(parents=True)
    bundle = intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    make_site(folder / "north-site", 4, 0)
    make_site(folder / "south-site", 3, 0, modalities=("T1w",))
    (folder / "federation.toml").write_text(FEDERATION.format(parent=bundle.path))
    if crossmodalseg(
        ["federate", str(folder / "federation.toml"), "--export", str(folder / "jobs"), "--device", "cpu"]
    ):
        raise SystemExit("the job could not be exported")
    kits = provision(folder)
    processes = [start(kits / name, folder) for name in CLASSES]
    try:
        session = new_secure_session(ADMIN, str(kits / ADMIN), timeout=300.0)
        job = session.submit_job(str(folder / "jobs" / "trial"))
        session.monitor_job(job, timeout=60 * minutes, poll_interval=5.0)
        result = Path(session.download_job_result(job))
        session.shutdown("all")
        print(next(result.rglob("federation.md")).read_text(encoding="utf-8"))
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def provision(folder: Path) -> Path:
    """The packages of all participants; each allows our class and NVFlare's own."""
    (folder / "project.yml").write_text(PROJECT)
    program = Path(sys.executable).with_name("nvflare")
    subprocess.run([str(program), "provision", "-p", "project.yml", "-w", "packages"], cwd=folder, check=True)
    kits = folder / "packages" / "trial" / "prod_00"
    for name, classes in CLASSES.items():
        local = kits / name / "local"
        content = json.loads((local / "resources.json.default").read_text())
        content["class_allow_list"] = [*content["class_allow_list"], *classes]
        (local / "resources.json").write_text(json.dumps(content, indent=1))
    return kits


def start(kit: Path, folder: Path) -> "subprocess.Popen[bytes]":
    """One participant's own start, in the foreground."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CROSSMODALSEG_SITE": str(folder / f"{kit.name}-site")}
    log = (folder / f"{kit.name}.log").open("wb")
    with log:
        command = ["bash", str(kit / "startup" / "sub_start.sh")]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
