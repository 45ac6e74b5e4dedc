"""Stage `check`: check params.yaml and the paths in it."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Check params.yaml, and that your files are outside the folders that DVC empties; reads no image.

    All other stages wait for this one, since DVC removes a stage's outputs before it runs. Exit code 2 on errors.
    """
    from crossmodalnet.errors import UsageError
    from crossmodalnet.io.console import count
    from crossmodalnet.io.outputs import write_json
    from pipeline.cohort.guard import path_problems
    from pipeline.config.consistency import contradictions, without_effect
    from pipeline.config.params import Params, read_raw, validate
    from pipeline.runtime.paths import CHECKED, PARAMS

    params = validate(Params, read_raw(), "")
    problems = contradictions(params)
    problems += path_problems(params.data, params.adapt.target if params.adapt.enabled else None)
    if problems:
        lines = [f"{PARAMS} cannot be run, {count(len(problems), 'reason')}:", *problems]
        raise UsageError("\n  ".join(lines))
    for line in without_effect(params):
        logger.warning("warning: %s", line)
    # Constant, so later stages rerun only if their own sections change.
    write_json(CHECKED, {"checked": True})
