"""Stage `register`: register every MR to its CT."""


def main() -> None:
    """Register the MR of every pair to its CT by `register.method`, several pairs at once.

    Pairs finished by an earlier run are reused, even if it was killed. Writes data/registered and data/registration_qc.
    """
    from crossmodalnet.registration.config import RegistrationConfig
    from pipeline.cohort.pairs import make_pairs, read_manifest
    from pipeline.config.params import load_section
    from pipeline.config.sections import SplitConfig
    from pipeline.preparation.registration import register_pairs, write_quality, write_registered
    from pipeline.runtime.paths import MANIFEST, REGISTERED, REGISTRATION_QC
    from pipeline.runtime.workers import RuntimeConfig

    params = load_section(RegistrationConfig, "register")
    pairs = make_pairs(read_manifest(MANIFEST), load_section(SplitConfig, "split"))
    folders = register_pairs(pairs, params, load_section(RuntimeConfig, "runtime"))
    write_registered(pairs, folders, REGISTERED)
    write_quality(pairs, folders, REGISTRATION_QC)
