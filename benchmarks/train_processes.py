"""Training throughput on the CPU: one process with a thread per core against one process per core, in the same run.

    python -m benchmarks.train_processes

Run it from the top of a repository in which `dvc repro crop split` has run. Prints samples per second of each and
their ratio; the work folders that it makes are its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

EPOCHS = 3


def main() -> None:
    """Train for a few epochs with one and with two processes, and print the ratio of their best throughputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.parse_args()
    rates = {devices: throughput(devices) for devices in (1, 2)}
    for devices, rate in rates.items():
        print(f"train.devices={devices}: {rate:.2f} samples/s")
    print(f"ratio 2 / 1: {rates[2] / rates[1]:.2f}")


def throughput(devices: int) -> float:
    """Train in a folder of its own that shares this one's data; gives the best epoch's samples per second."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(Path("params.yaml").read_text("utf-8"))
    params["train"] |= {"devices": devices, "epochs": EPOCHS, "validate_every": EPOCHS}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(Path("data").resolve())
        with (Path(folder) / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        command = [sys.executable, "-m", "stages.__main__", "train", "--model", "crossmodalnet"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return max(float(rate) for rate in re.findall(r"([\d.]+) samples/s", done.stderr))


if __name__ == "__main__":
    main()
