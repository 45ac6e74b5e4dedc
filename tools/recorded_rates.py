"""Say that the recorded learning rates hold for the presets as they are now: `python -m tools.recorded_rates`.

To be run when a preset got a new option that leaves its results as they were; where the results differ, the rates are
tried anew by stage `tune`, and their rows replaced.
"""

import pandas as pd

from pipeline.config.presets import rendered
from pipeline.report.sections.comparison import FILE, settings_digest


def main() -> None:
    """Write the digest of its preset's settings into every row of recorded_rates.csv."""
    presets, rates = rendered(), pd.read_csv(FILE, dtype=str)
    rates["settings"] = [
        settings_digest(model, presets[preset]) for preset, model in zip(rates["preset"], rates["model"], strict=True)
    ]
    rates.to_csv(FILE, index=False)


if __name__ == "__main__":
    main()
