"""Adapt a model to a site: ``python training_cli/finetune.py SITE`` is ``crossmodalseg finetune SITE``.

With several GPUs: ``torchrun --nproc-per-node=N training_cli/finetune.py SITE``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the library lies beside this folder

from CrossModalSegLib.cli import main
from CrossModalSegLib.own_process import end_process, prepare_process

if __name__ == "__main__":
    prepare_process()
    end_process(main(["finetune", *sys.argv[1:]]))
