"""Define landmarks of the mean heart, and draw a person's pose, sizes and smooth invertible deformation.

Landmarks are in RAS mm, the heart at the origin, adult size. The ventricles use the frame of the LV's long axis: `s`
from LV to RV, `t` across (mostly upwards), `w` from the mitral plane (0) to the apex.
"""

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmodalnet.phantom.primitives import Field

Range = tuple[float, float]

# The mean heart is drawn at full adult size; this brings the box of its seven structures to about 105 mm.
MEAN_SCALE = 0.85

MAX_LIPSCHITZ = 0.6  # of `Waves.lipschitz` per layer; below 1, `p + u(p)` is one-to-one


@dataclass(frozen=True)
class Sizes:
    """Factors on the sizes of the mean heart and thorax (1 = mean), and shifts in mm."""

    lv_radius: float = 1.0
    lv_length: float = 1.0
    wall: float = 1.0
    rv: float = 1.0
    rv_length: float = 1.0
    la: float = 1.0
    ra: float = 1.0
    aorta: float = 1.0
    pulmonary: float = 1.0
    appendages: float = 1.0
    veins: float = 1.0
    fat: float = 1.0
    pericardial_fat: float = 1.0
    chest: float = 1.0
    arch_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    trunk_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    la_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ra_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    diaphragm_mm: float = 0.0


# Half-widths of the uniform draws, by field of Sizes.
SPREAD = {
    "lv_radius": 0.16, "lv_length": 0.11, "wall": 0.20, "rv": 0.11, "rv_length": 0.11, "la": 0.16, "ra": 0.15,
    "aorta": 0.15, "pulmonary": 0.15, "appendages": 0.25, "veins": 0.15, "fat": 0.6, "pericardial_fat": 0.6,
    "chest": 0.06, "arch_mm": 4.0, "trunk_mm": 3.0, "la_mm": 3.5, "ra_mm": 3.5, "diaphragm_mm": 7.0,
}  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """Difference of one person between two scans: cardiac phase and breathing; a `Range` is of a uniform draw."""

    ventricles: Range  # share of the larger ventricular volume that the smaller one lacks
    breath_mm: Range  # the diaphragm lies lower
    turn_degrees: float  # largest rotation of the heart about each axis


@dataclass(frozen=True)
class Inside:
    """Differences between people that hardly show at the surface of the heart; a `Range` is of a uniform draw."""

    wall: Range  # thickness of the LV's wall (1 = mean) at the same epicardium: from dilated to hypertrophic hearts
    waves_mm: Range  # amplitudes of a further deformation, of 40 to 80 mm wavelength


@dataclass(frozen=True)
class Waves:
    """A displacement made of plane waves: `u(p) = sum_k a_k sin(k_k . p + phase_k)`."""

    amplitudes: NDArray[np.float64]  # (n, 3), mm
    wave_vectors: NDArray[np.float64]  # (n, 3), radians per mm
    phases: NDArray[np.float64]  # (n,), radians

    @property
    def lipschitz(self) -> float:
        """Bound on the norm of the displacement's Jacobian."""
        lengths = np.linalg.norm(self.amplitudes, axis=1) * np.linalg.norm(self.wave_vectors, axis=1)
        return float(lengths.sum())

    def __call__(self, points: Field) -> Field:
        """Move `points` `(3, ...)`."""
        moved = points.copy()
        for amplitude, (x, y, z), phase in zip(self.amplitudes, self.wave_vectors, self.phases, strict=True):
            wave = np.sin(points[0] * x + points[1] * y + points[2] * z + phase)
            for axis in range(3):
                moved[axis] += wave * amplitude[axis]
        return moved


@dataclass(frozen=True)
class SubjectShape:
    """The one-to-one map from patient (RAS mm, heart at 0) to mean coordinates, and the sizes there."""

    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    scale: tuple[float, float, float] = (MEAN_SCALE, MEAN_SCALE, MEAN_SCALE)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    layers: tuple[Waves, ...] = ()
    sizes: Sizes = Sizes()

    def to_mean(self, points: Field) -> Field:
        """Map patient coordinates `(3, ...)` in mm to those of the mean anatomy."""
        matrix = self.rotation.T / np.asarray(self.scale)[:, None]
        moved: Field = np.tensordot(matrix, points, 1)
        moved = _turn(moved, np.asarray(self.turn))
        for layer in self.layers:
            moved = layer(moved)
        return moved


def draw_shape(rng: np.random.Generator) -> SubjectShape:
    """Draw one person."""
    scale = MEAN_SCALE * np.exp(rng.uniform(-0.04, 0.04) + rng.uniform(-0.06, 0.06, 3))
    return SubjectShape(
        rotation=rotation_matrix(np.deg2rad(rng.uniform(-6, 6, 3))),
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        turn=_triple(np.deg2rad(rng.uniform(-10, 10, 3))),
        layers=(
            _draw_waves(rng, num_waves=5, wavelengths_mm=(110, 220), amplitudes_mm=(2.0, 4.5)),
            _draw_waves(rng, num_waves=6, wavelengths_mm=(50, 95), amplitudes_mm=(0.8, 1.6)),
        ),
        sizes=_draw_sizes(rng),
    )


def varied(shape: SubjectShape, inside: Inside, rng: np.random.Generator) -> SubjectShape:
    """Return a person with another inside of the heart."""
    old = shape.sizes
    wall = float(np.exp(rng.uniform(*np.log(inside.wall))))
    thicker_mm = WALL_MM * (wall - old.wall)
    sizes = replace(
        old,
        wall=wall,
        lv_radius=old.lv_radius - thicker_mm / LV_RADIUS_MM,
        lv_length=old.lv_length - APEX * thicker_mm / LV_HALF_LENGTH_MM,
    )
    waves = _draw_waves(rng, num_waves=6, wavelengths_mm=(40, 80), amplitudes_mm=inside.waves_mm)
    return replace(shape, sizes=sizes, layers=(*shape.layers, waves))


def moved(shape: SubjectShape, motion: Motion, rng: np.random.Generator) -> SubjectShape:
    """Return a person at another cardiac phase and breath; the mass of the myocardium stays about the same."""
    ratio = (1 - rng.uniform(*motion.ventricles)) ** rng.choice([-1.0, 1.0])
    old = shape.sizes
    sizes = replace(
        old,
        lv_radius=old.lv_radius * ratio**0.4,
        lv_length=old.lv_length * ratio**0.2,
        wall=old.wall * ratio**-0.45,
        rv=old.rv * ratio**0.3,
        rv_length=old.rv_length * ratio**0.15,
        la=old.la * ratio**-0.1,
        ra=old.ra * ratio**-0.1,
        diaphragm_mm=old.diaphragm_mm - rng.uniform(*motion.breath_mm),
    )
    turn = np.asarray(shape.turn) + np.deg2rad(rng.uniform(-motion.turn_degrees, motion.turn_degrees, 3))
    return replace(shape, sizes=sizes, turn=_triple(turn))


def rotation_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the rotation about `vector` by its length in radians (Rodrigues)."""
    x, y, z = vector
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(
        np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / 2 / np.pi) ** 2 * cross @ cross
    )


def _turn(points: Field, vector: NDArray[np.float64], inner_mm: float = 60, outer_mm: float = 130) -> Field:
    """Rotate about `vector`, fully within `inner_mm` of the origin and not at all beyond `outer_mm`."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return points
    x, y, z = vector / angle
    radius = np.sqrt(np.einsum("i...,i...->...", points, points))
    fade = np.clip((outer_mm - radius) * (1 / (outer_mm - inner_mm)), 0, 1)
    angles = angle * fade * fade * (3 - 2 * fade)
    cos, sin = np.cos(angles), np.sin(angles)
    along = (points[0] * x + points[1] * y + points[2] * z) * (1 - cos)
    return np.stack([
        points[0] * cos + (y * points[2] - z * points[1]) * sin + x * along,
        points[1] * cos + (z * points[0] - x * points[2]) * sin + y * along,
        points[2] * cos + (x * points[1] - y * points[0]) * sin + z * along,
    ])  # fmt: skip


def _draw_waves(
    rng: np.random.Generator, num_waves: int, wavelengths_mm: tuple[float, float], amplitudes_mm: tuple[float, float]
) -> Waves:
    directions, ways = (_unit(rng.normal(size=(num_waves, 3))) for _ in range(2))
    amplitudes = ways * rng.uniform(*amplitudes_mm, (num_waves, 1))
    wave_vectors = directions * 2 * np.pi / rng.uniform(*wavelengths_mm, (num_waves, 1))
    waves = Waves(amplitudes, wave_vectors, rng.uniform(0, 2 * np.pi, num_waves))
    return Waves(amplitudes * min(1.0, MAX_LIPSCHITZ / waves.lipschitz), wave_vectors, waves.phases)


def _draw_sizes(rng: np.random.Generator) -> Sizes:
    values: dict[str, float | tuple[float, float, float]] = {}
    for entry in fields(Sizes):
        spread = SPREAD[entry.name]
        if entry.name.endswith("_mm") and entry.name != "diaphragm_mm":
            values[entry.name] = _triple(rng.uniform(-spread, spread, 3))
        else:
            values[entry.name] = float(entry.default + rng.uniform(-spread, spread))  # type: ignore[operator]
    return Sizes(**values)  # type: ignore[arg-type]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _unit_vector(vector: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(vector, np.float64)
    return np.asarray(values / np.linalg.norm(values))


def _long_axis_frame() -> NDArray[np.float64]:
    w = _unit_vector([-0.68, 0.52, -0.52])  # the apex lies to the left, in front, below
    s = _unit_vector(np.cross(w, np.cross([0.61, 0.79, 0.0], w)))  # the septum faces right and forwards
    return np.stack([s, np.cross(s, w), w])


BASE = np.array([-14.0, -12.0, 4.0])  # middle of the LV's base
FRAME = _long_axis_frame()  # rows s, t, w

LV_CENTRE_W, LV_RADIUS_MM, LV_HALF_LENGTH_MM, WALL_MM = 20.0, 22.0, 55.0, 9.0
APEX = 0.8  # the wall at the apex is thinner
LA_CENTRE = np.array([-3.0, -41.0, 11.0])
RA_CENTRE = np.array([37.0, -5.0, -3.0])

# Valves, with the direction in which blood passes them.
TRICUSPID, INTO_RV = np.array([18.0, 14.0, -12.0]), _unit_vector([-0.75, 0.6, -0.28])
AORTIC, INTO_AORTA = np.array([-9.5, -0.3, 19.4]), _unit_vector([0.55, 0.17, 0.82])
PULMONARY, INTO_PULMONARY = np.array([-16.0, 28.0, 36.0]), _unit_vector([-0.12, -0.72, 0.68])

SEPTUM_MM = 2.5  # between neighbouring blood pools that do not communicate


def vector(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Create a point or direction in mean coordinates."""
    return np.array([x, y, z], np.float64)


def long_axis(s: float, t: float, w: float) -> NDArray[np.float64]:
    """Map a point of the long-axis frame to mean coordinates."""
    return np.asarray(BASE + np.array([s, t, w]) @ FRAME)


def to_long_axis(points: Field) -> Field:
    """Map mean coordinates `(3, n)` to the long-axis frame."""
    return np.tensordot(FRAME, points - BASE[:, None], 1)


def epicardial_radius(sizes: Sizes) -> float:
    """Compute the largest radius of the LV with its wall, mm."""
    return LV_RADIUS_MM * sizes.lv_radius + WALL_MM * sizes.wall
