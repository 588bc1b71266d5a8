"""``crossmodalseg federate``: several hospitals make one model, on one machine as a trial, or as a job of NVFlare."""

import argparse
from pathlib import Path

from CrossModalSegLib.commands.options import given_path
from CrossModalSegLib.errors import ConfigError, InstallError, TrainingError

EXAMPLES = """examples:
  crossmodalseg federate federation.toml --simulate trial      all hospitals on this machine
  crossmodalseg federate federation.toml --export jobs         the job, for the server of a real federation

federation.toml, the same at all hospitals (docs/scale.md describes it):
  [federation]
  parent = "brain-mr-pair"
  rounds = 5
  [hospitals]            # for a simulation: their site folders
  north = "sites/north"
  south = "sites/south"
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "federate",
        help="make one model of several hospitals, whose data stay where they are",
        description="Makes one model of several hospitals' sites with NVFlare: weights are sent, data never.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=given_path, metavar="FEDERATION.toml")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--simulate", type=given_path, metavar="FOLDER", help="run it here, in a new folder")
    what.add_argument("--export", type=given_path, metavar="FOLDER", help="write the job, to be submitted to a server")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--at-once",
        type=int,
        choices=range(1, 101),
        default=1,
        metavar="N",
        help="hospitals that compute at a time (1)",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate or export; returns 0. Raises CrossModalSegError for bad input, or where the federation did not end."""
    from CrossModalSegLib.federation.config import read_federation
    from CrossModalSegLib.training.config import read_tables

    config = read_federation(args.config)
    try:
        from CrossModalSegLib.federation.flare import allow_our_classes, make_job
    except ImportError as error:
        what, hint = f"{error.name} is not installed", 'install it: pip install "crossmodalseg[federated]"'
        raise InstallError("packages-missing", what, hint) from error
    job = make_job(config, read_tables(args.config), args.device)
    if args.export:
        job.export_job(str(args.export))
        print(f"wrote {args.export / config.options.name}: submit it to the server, see docs/scale.md")
        return 0
    if len(config.hospitals) < config.options.fewest_hospitals:
        what = f"{args.config} names {len(config.hospitals)} hospitals, {config.options.fewest_hospitals} are needed"
        raise ConfigError("config", what, "name their site folders in the table [hospitals]")
    allow_our_classes(args.simulate)
    job.simulator_run(str(args.simulate), clients=list(config.hospitals), threads=args.at_once)
    return _tell(args.simulate)


def _tell(workspace: Path) -> int:
    from CrossModalSegLib.federation.flare import find_history
    from CrossModalSegLib.federation.report import REPORT, read_history

    file = find_history(workspace)
    history = read_history(file) if file else None
    if file is None or history is None or len(history.rounds) < history.options["rounds"]:
        refused = {name: facts.refused for name, facts in history.hospitals.items() if facts.refused} if history else {}
        said = "".join(f"; {name}: {why}" for name, why in refused.items())
        raise TrainingError("federation-ended", f"it did not come to its end{said}", f"read the logs in {workspace}")
    for name in history.hospitals:
        print(f"{name}: {history.models.get(name) or 'keeps its own model'}")
    print(f"report {file.with_name(REPORT)}")
    return 0
