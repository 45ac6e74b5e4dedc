"""Section `register` as the library takes it; apart from the section, which is read without the library."""

from crossmodalnet.registration.align import AlignSettings
from crossmodalnet.registration.ants import SynSettings
from pipeline.config.register import RegistrationConfig


def align_settings(params: RegistrationConfig) -> AlignSettings:
    """Turn section `register` into the settings of a registration."""
    return AlignSettings(
        syn=SynSettings(params.transform, params.affine_iterations, tuple(params.iterations)),
        working_spacing_mm=params.working_spacing_mm,
        initialisations=tuple(params.initialisations),
        min_gain=params.min_gain,
        seed=params.seed,
        recipe=params.recipe,
    )
