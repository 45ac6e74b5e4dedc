"""How thoroughly the paper's claims are checked: options, without the libraries that check them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AuditSettings:
    """How thoroughly the claims are checked."""

    seed: int = field(default=0, metadata={"ge": 0, "description": "seed of every draw of the audit"})
    num_cases: int = field(
        default=5,
        metadata={"ge": 1, "le": 100, "description": "test pairs that are measured, at most"},
    )
    tokens_per_case: int = field(
        default=400,
        metadata={
            "ge": 50,
            "description": "positions drawn per case and layer for mutual information, at most",
        },
    )
    components: int = field(
        default=4,
        metadata={
            "ge": 1,
            "le": 32,
            "description": "principal components of each stream whose mutual information is estimated",
        },
    )
    neighbours: int = field(
        default=4,
        metadata={"ge": 1, "le": 50, "description": "k of the k-nearest-neighbour estimator"},
    )
    approximation_steps: int = field(
        default=100,
        metadata={"ge": 1, "description": "training steps per network of the approximation study"},
    )
    overfit_steps: int = field(
        default=200,
        metadata={"ge": 10, "description": "training steps, at most, to overfit one case"},
    )
    rademacher_draws: int = field(
        default=60,
        metadata={"ge": 2, "description": "draws of random signs for the Rademacher complexity"},
    )
    power_iterations: int = field(
        default=6,
        metadata={
            "ge": 1,
            "description": "power iterations towards the largest singular value of the network's Jacobian",
        },
    )
    attack_steps: int = field(
        default=6,
        metadata={"ge": 1, "description": "steps of projected gradient ascent in an attack"},
    )
    attack_radius: float = field(
        default=1.0,
        metadata={
            "gt": 0,
            "description": "largest l2 norm of an attack, over that of Gaussian noise with standard deviation 0.01",
        },
    )
