from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import write_json
from pipeline.preparation.domain import Domain, Roles, read_domain, write_domain

ROLES: Roles = {"train": ["ct_1", "ct_2"], "validation": ["ct_3"], "test": []}


@pytest.mark.parametrize(
    "domain", [None, Domain("cohort", None, ROLES), Domain("mr_to_ct", {**ROLES, "test": ["mr_9"]}, ROLES)]
)
def test_a_record_comes_back(domain: Domain | None, tmp_path: Path) -> None:
    write_domain(tmp_path, domain)
    assert read_domain(tmp_path) == domain


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"scenario": "pet_to_ct", "source": None, "target": ROLES},
        {"scenario": "cohort", "source": None, "target": {"train": []}},
        {"scenario": "cohort", "source": None, "target": None},
    ],
)
def test_anything_else_names_the_folder_and_the_stage(content: dict[str, object], tmp_path: Path) -> None:
    write_json(tmp_path / "domain.json", content)
    with pytest.raises(DataError, match=r"does not hold a target domain .*dvc repro target"):
        read_domain(tmp_path)


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro target"):
        read_domain(tmp_path)
