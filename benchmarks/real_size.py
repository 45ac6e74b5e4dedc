"""The preset mmwhs from end to end on scans of real size: what each stage takes of time, memory and disk.

    python -m benchmarks.real_size FOLDER --people 6

Makes that many CT and that many MR, of different people, as MM-WHS names them (CT 512 x 512 x 250, MR 288 x 288 x 160,
`benchmarks/registration_pairs.py`) in FOLDER/cohort, clones the committed code into FOLDER/repository, writes the
preset with the training cut to a few steps, and has `dvc repro` run stage after stage. Prints a Markdown table.
"""

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from benchmarks.registration_pairs import coronary_plan, make_pair
from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.structures import to_codes

ROOT = Path(__file__).resolve().parents[1]
GB = 1e9
# What each stage leaves in the working copy, stages in their order.
STAGES = {
    "check": (),
    "download": ("data/raw",),
    "register": ("data/registered", "data/registration_qc"),
    "split": (),
    "crop": ("data/cropped",),
    "target": (),
    "train": ("models", "curves"),
    "evaluate": ("evaluation",),
    "atlas": ("evaluation/atlas",),
    "profile": ("profile",),
    "audit": ("audit",),
    "export": ("exported",),
    "compare": ("comparison",),
    "report": ("report",),
}


class PeakMemory:
    """The largest sum of what the processes below this one hold, each shared page counted once."""

    def __init__(self, every_s: float = 0.5) -> None:
        self.gb = 0.0
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._end.wait(self._every_s):
            held = 0.0
            for process in me.children(recursive=True):
                try:
                    held += process.memory_full_info().pss
                except (psutil.Error, OSError):  # it has ended since
                    continue
            self.gb = max(self.gb, held / GB)


def main() -> None:
    """Make the cohort and the clone, run the stages and print the table, row by row."""
    options = _parser().parse_args()
    folder: Path = options.folder.resolve()
    cohort, repository = folder / "cohort", folder / "repository"
    cohort.mkdir(parents=True, exist_ok=True)
    for number in range(options.people):
        save_people(cohort, number)
    print(f"cohort: {_disk_gb(cohort):.2f} GB", flush=True)
    if not repository.exists():
        subprocess.run(["git", "clone", "--quiet", ROOT, repository], check=True)
        prepare(repository, cohort, options)
    print("| stage | wall, s | CPU, s | memory, GB | disk, GB |\n|---|---:|---:|---:|---:|", flush=True)
    for stage in options.stages:
        print("| " + " | ".join(run_stage(repository, stage)) + " |", flush=True)


def save_people(folder: Path, number: int) -> None:
    """Write the CT of one person and the MR of another, with their label maps; what is there is kept."""
    stems = [folder / f"{modality}_train_{1001 + number}" for modality in ("ct", "mr")]
    if all(Path(f"{stem}_label.nii.gz").exists() for stem in stems):
        return
    ct, ct_labels, mr, mr_labels = make_pair(coronary_plan(number))
    for stem, image, labels in zip(stems, (ct, mr), (ct_labels, mr_labels), strict=True):
        write_image(Path(f"{stem}_image.nii.gz"), image)
        write_codes(Path(f"{stem}_label.nii.gz"), to_codes(labels.data), labels.affine)


def prepare(repository: Path, cohort: Path, options: argparse.Namespace) -> None:
    """Write the preset with a short training and one displacement of the MR into the clone's params.yaml."""
    _run(repository, sys.executable, "-m", "stages", "params", "use", "mmwhs")
    file = repository / "params.yaml"
    yaml = YAML()
    params = yaml.load(file.read_text("utf-8"))
    params["data"]["path"] = str(cohort)
    params["train"] |= {"epochs": 1, "samples_per_case": options.samples}
    params["evaluate"]["misregistration_mm"] = [0.0, 10.0]
    with file.open("w", encoding="utf-8") as text:
        yaml.dump(params, text)


def run_stage(repository: Path, stage: str) -> list[str]:
    """Run one stage as a user would: a row of the table."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with PeakMemory() as peak:
        _run(repository, sys.executable, "-m", "dvc", "repro", "--single-item", stage)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    disk = sum(_disk_gb(repository / name) for name in STAGES[stage])
    return [stage, f"{wall:.0f}", f"{cpu:.0f}", f"{peak.gb:.1f}", f"{disk:.2f}"]


def _run(repository: Path, *command: str) -> None:
    variables = {**os.environ, "PYTHONPATH": str(repository)}
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    with (repository.parent / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=repository, env=variables, stdout=log, stderr=log, check=True)


def _disk_gb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GB


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for cohort, clone and log.txt, some GB")
    parser.add_argument("--people", type=int, default=6, help="labelled subjects of each modality")
    parser.add_argument("--samples", type=int, default=1, help="visits of the one epoch to each training pair")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES), help="stages to run")
    return parser


if __name__ == "__main__":
    main()
