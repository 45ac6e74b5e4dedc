"""Compare weights, label maps, split, metrics and scores of two finished runs byte by byte.

`python -m tools.compare_runs /path/to/one/clone /path/to/another`
"""

import argparse
import sys
from pathlib import Path

PATTERNS = (
    "data/split.json",
    "models/**/*.safetensors",
    "evaluation/**/*.nii.gz",
    "evaluation/**/*.csv",
    "metrics/**/*.json",
)


def files_of(run: Path) -> set[Path]:
    """List the files that define a run's result, relative to its folder."""
    return {file.relative_to(run) for pattern in PATTERNS for file in run.glob(pattern) if file.is_file()}


def main() -> None:
    """Print each file that is missing or differs; exit with 1 if there is any, or nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    runs = parser.parse_args()
    names = files_of(runs.one) | files_of(runs.other)
    failures = 0
    for name in sorted(names):
        one, other = runs.one / name, runs.other / name
        if not (one.is_file() and other.is_file()):
            failures += 1
            sys.stdout.write(f"missing in {runs.other if one.is_file() else runs.one}: {name}\n")
        elif one.read_bytes() != other.read_bytes():
            failures += 1
            sys.stdout.write(f"differs: {name}\n")
    sys.stdout.write(f"{len(names) - failures} of {len(names)} files have the same bytes\n")
    sys.exit(failures > 0 or not names)


if __name__ == "__main__":
    main()
