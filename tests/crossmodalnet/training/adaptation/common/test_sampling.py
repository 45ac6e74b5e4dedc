import pytest
import torch

from crossmodalnet.training.adaptation.term import draw_balanced


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_class_that_occurs_gives_its_share_without_replacement() -> None:
    classes = torch.tensor([0] * 90 + [2] * 3 + [1] * 10)[torch.randperm(103, generator=_seeded())]
    drawn = draw_balanced(classes, 5, 4, _seeded())
    assert torch.equal(classes[drawn], torch.tensor([0] * 5 + [1] * 5 + [2] * 3))
    assert len(drawn.unique()) == len(drawn)


def test_all_of_them_where_a_share_is_larger() -> None:
    classes = torch.tensor([3, 0, 3, 1])
    assert draw_balanced(classes, 9, 5, _seeded()).sort().values.tolist() == [0, 1, 2, 3]


def test_every_position_of_a_class_is_as_likely() -> None:
    classes = torch.tensor([0, 1] * 10)
    generator = _seeded()
    counts = torch.zeros(20)
    for _ in range(2000):
        counts[draw_balanced(classes, 3, 2, generator)] += 1
    # Binomial of 2000 draws with p = 0.3: mean 600, standard deviation 20.
    assert counts.min() > 520
    assert counts.max() < 680


def test_same_seed_same_draw() -> None:
    classes = torch.randint(0, 8, (30000,), generator=_seeded())
    assert torch.equal(
        draw_balanced(classes, 32, 8, _seeded(1)), draw_balanced(classes.short(), 32, 8, _seeded(1))
    )
    assert not torch.equal(
        draw_balanced(classes, 32, 8, _seeded(1)), draw_balanced(classes, 32, 8, _seeded(2))
    )


def test_nothing_to_draw_from() -> None:
    assert draw_balanced(torch.empty(0, dtype=torch.int64), 5, 8, _seeded()).shape == (0,)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="per_class must be at least 1, got 0"):
        draw_balanced(torch.tensor([0]), 0, 2, _seeded())
    with pytest.raises(ValueError, match="between 0 and 1, got 0 to 2"):
        draw_balanced(torch.tensor([0, 2]), 1, 2, _seeded())
    with pytest.raises(ValueError, match="between 0 and 1, got -1 to 1"):
        draw_balanced(torch.tensor([1, -1]), 1, 2, _seeded())
    with pytest.raises(ValueError, match="one axis"):
        draw_balanced(torch.zeros(2, 2, dtype=torch.int64), 1, 2, _seeded())
