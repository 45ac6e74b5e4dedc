"""Stage `register`: every MR brought to the CT it is paired with."""


def main() -> None:
    """Register the MR of every pair to its CT by ANTs SyN, several pairs at once.

    Pairs that an earlier run finished are reused, even if it was killed later. Writes data/registered and
    data/registration_qc.
    """
    from pipeline.cohort.pairs import make_pairs, read_manifest
    from pipeline.config.params import load_section
    from pipeline.config.register import RegisterParams
    from pipeline.config.runtime import RuntimeParams
    from pipeline.config.split import SplitParams
    from pipeline.preparation.register_pairs import register_pairs, write_quality, write_registered
    from pipeline.runtime.paths import MANIFEST, REGISTERED, REGISTRATION_QC

    params = load_section(RegisterParams, "register")
    pairs = make_pairs(read_manifest(MANIFEST), load_section(SplitParams, "split"))
    folders = register_pairs(pairs, params, load_section(RuntimeParams, "runtime"))
    write_registered(pairs, folders, REGISTERED)
    write_quality(pairs, folders, params, REGISTRATION_QC)
