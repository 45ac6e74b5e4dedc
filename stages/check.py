"""Stage `check`: all parameters, and that no path they name lies where DVC deletes files."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Check all of params.yaml, and that nothing of yours lies where a stage would delete it; reads no image.

    DVC removes a stage's outputs before it runs the stage, and all others wait for this one. Exit code 2 where
    something is wrong.
    """
    from crossmodalnet.errors import UsageError
    from crossmodalnet.io.outputs import write_json
    from pipeline.cohort.guard import path_problems
    from pipeline.config.consistency import contradictions, without_effect
    from pipeline.config.params import Params, read_raw, validate
    from pipeline.runtime.paths import CHECKED, PARAMS

    params = validate(Params, read_raw(), "")
    problems = contradictions(params)
    problems += path_problems(params.data, params.adapt.target if params.adapt.enabled else None)
    if problems:
        lines = "\n".join(f"  {line}" for line in problems)
        raise UsageError(f"{PARAMS} cannot be run, {len(problems)} reason(s):\n{lines}")
    for line in without_effect(params):
        logger.warning("warning: %s", line)
    # The same for all parameters, so that what waits for it reruns for its own sections alone.
    write_json(CHECKED, {"checked": True})
