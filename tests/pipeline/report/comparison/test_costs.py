from dataclasses import replace

from pipeline.evaluation.profile import Spread
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.comparison.costs import cost_section


def test_costs_are_printed_with_their_units(artefacts: Artefacts) -> None:
    profile = replace(
        artefacts.profiles["mednext"], parameters=5_558_856, flops=255_800_000_000,
        step_seconds=Spread(0.35, 0.3412, 0.4), step_ratio=Spread(1.251, 1.0, 2.0), step_memory_mb=1234.5,
        inference_seconds=Spread(12.34, 12.0, 13.0), inference_memory_mb=99.6,
    )  # fmt: skip
    section = cost_section(replace(artefacts, profiles={**artefacts.profiles, "mednext": profile}))
    assert section is not None
    assert section.table.rows[1] == [
        "MedNeXt", "5.56", "255.8", "0.35 (0.341 to 0.4)", "1.25", "1,234", "12.3 (12 to 13)", "100",
    ]  # fmt: skip
    assert section.settings == ["a processor, 2 threads, batches of 2 patches of 48 × 48 × 48 voxels"]


def test_different_machines_are_told(artefacts: Artefacts) -> None:
    profile = replace(artefacts.profiles["mednext"], device="another", threads=1)
    section = cost_section(replace(artefacts, profiles={**artefacts.profiles, "mednext": profile}))
    assert section is not None
    assert [setting.split(",")[:2] for setting in section.settings] == [
        ["a processor", " 2 threads"], ["another", " 1 thread"],
    ]  # fmt: skip


def test_one_network_has_no_such_section(artefacts: Artefacts) -> None:
    assert cost_section(replace(artefacts, results=[artefacts.results[0], artefacts.results[-1]])) is None
