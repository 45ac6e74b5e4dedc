"""How training samples are changed at random: options, without the libraries that change them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AugmentationSettings:
    """How much is changed, and how often.

    >>> AugmentationSettings(rotation_degrees=15.0).rotation_degrees
    15.0

    Raises:
        ValueError: `gamma` is no range of positive numbers.
    """

    affine_probability: float = field(
        default=0.4,
        metadata={"ge": 0, "le": 1, "description": "probability of a rotation, scaling and shift"},
    )
    rotation_degrees: float = field(
        default=8.0,
        metadata={"ge": 0, "le": 180, "description": "largest rotation about each axis, degrees"},
    )
    scale: float = field(
        default=0.1,
        metadata={"ge": 0, "lt": 1, "description": "largest relative change of size per axis"},
    )
    shift_voxels: float = field(
        default=2.0,
        metadata={"ge": 0, "description": "largest shift per axis, voxels of the working grid"},
    )
    elastic_probability: float = field(
        default=0.1,
        metadata={"ge": 0, "le": 1, "description": "probability of a smooth free-form deformation"},
    )
    elastic_spacing_voxels: float = field(
        default=12.0,
        metadata={
            "ge": 2,
            "description": "spacing of the control points of the free-form deformation, voxels",
        },
    )
    elastic_voxels: float = field(
        default=2.5,
        metadata={
            "ge": 0,
            "description": "largest displacement of a control point of the free-form deformation per axis, voxels",
        },
    )
    intensity_probability: float = field(
        default=0.15,
        metadata={
            "ge": 0,
            "le": 1,
            "description": "probability of each change of intensity, for each modality on its own",
        },
    )
    gamma: tuple[float, float] = field(
        default=(0.7, 1.5),
        metadata={"description": "range of the exponent on intensities"},
    )
    contrast: float = field(
        default=0.15,
        metadata={"ge": 0, "lt": 1, "description": "largest relative change of the intensity scale"},
    )
    brightness: float = field(
        default=0.1,
        metadata={"ge": 0, "description": "largest change of intensity; images range from 0 to 1"},
    )
    noise: float = field(
        default=0.05,
        metadata={"ge": 0, "description": "largest standard deviation of added noise"},
    )
    smoothing_voxels: float = field(
        default=0.8,
        metadata={"ge": 0, "description": "largest standard deviation of the blur, voxels"},
    )
    bias_field: float = field(
        default=0.15,
        metadata={"ge": 0, "description": "largest coefficient of the MR's log bias field"},
    )
    displacement_probability: float = field(
        default=0.0,
        metadata={
            "ge": 0,
            "le": 1,
            "description": "probability that the MR of a pair is moved rigidly against CT and label, as a registration "
            "that went wrong would; 0: off, as it always is for single images, for samples that lost a "
            "modality, and for a network of one stream",
        },
    )
    displacement_voxels: float = field(
        default=4.0,
        metadata={
            "ge": 0,
            "description": "largest shift of a displaced MR against its CT, voxels of the working grid; the length is "
            "drawn uniformly from 0 to this",
        },
    )
    displacement_degrees: float = field(
        default=10.0,
        metadata={
            "ge": 0,
            "le": 180,
            "description": "largest rotation of a displaced MR against its CT, degrees; the angle is drawn uniformly "
            "from 0 to this",
        },
    )

    def __post_init__(self) -> None:
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError(f"gamma must be two positive numbers, the smaller first, got {self.gamma}")
