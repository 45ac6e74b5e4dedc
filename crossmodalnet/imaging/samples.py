"""Images with their truth as a network sees them: a case, and the batch of a training step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LabelledCase:
    """A pair of images, or one image alone, with its truth.

    Attributes:
        name: name of the pair, or of the subject.
        image: CT and MR in [0, 1], `(2, d, h, w)`.
        label: class indices of the CT, or of the image alone, uint8, `(d, h, w)`.
        mr_label: class indices of the MR, which shows another heart, like `label`; None where there are none.
        single: whether both channels hold the same image.
    """

    name: str
    image: Tensor
    label: Tensor
    mr_label: Tensor | None = None
    single: bool = False


@dataclass(frozen=True)
class Batch:
    """Samples of one step: `image (b, 2, d, h, w)`, `label (b, d, h, w)` int64, and their cases' names."""

    names: tuple[str, ...]
    image: Tensor
    label: Tensor
