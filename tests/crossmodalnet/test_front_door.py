"""The public names of the library, which are imported on their first use."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import crossmodalnet
from crossmodalnet.imaging.dicom import series_files
from crossmodalnet.imaging.read import format_of, read_scan
from crossmodalnet.imaging.untrusted import read_untrusted
from crossmodalnet.inference.model_folder import pack_model, read_inference_config
from crossmodalnet.networks.common.card import load_model
from crossmodalnet.roi.atlas import Atlas, load_atlases, save_atlases
from pipeline.runtime.paths import TOP
from tests.crossmodalnet.test_cli import model  # noqa: F401


@pytest.mark.parametrize("name", crossmodalnet.__all__)
def test_public_names_are_those_of_their_modules(name: str) -> None:
    place = import_module(crossmodalnet._modules()[name])
    assert getattr(crossmodalnet, name) is getattr(place, name)
    assert name in dir(crossmodalnet)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'unet'"):
        crossmodalnet.unet  # noqa: B018


def test_paths_are_strings_or_path_objects(model: Path, tmp_path: Path) -> None:  # noqa: F811
    volume = crossmodalnet.Volume(np.ones((9, 9, 9), np.float32), np.diag([9.0, 9.0, 9.0, 1.0]))
    volume.data[0] = 3
    for kind in (str, Path):
        scan, labels, atlases, packed = (kind(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz", "c", "d.zip"))
        crossmodalnet.write_image(scan, volume)
        crossmodalnet.write_label_map(labels, volume)
        assert crossmodalnet.read_image(scan).data.max() == crossmodalnet.read_label_map(labels).data.max() == 3
        assert crossmodalnet.read_volume(scan, crossmodalnet.Modality.MR)[0].spacing_mm == (9, 9, 9)
        assert (format_of(scan), read_scan(scan).grid.shape, read_untrusted(scan).grid.shape) == (
            "nifti", (9, 9, 9), (9, 9, 9),
        )  # fmt: skip
        save_atlases(atlases, [Atlas(volume, volume)])
        assert len(load_atlases(atlases)) == 1
        pack_model(kind(model), packed)
        assert load_model(kind(model)).card.name == crossmodalnet.Predictor.load(packed).cards[0].name
        assert read_inference_config(kind(model)).spacing_mm == 4
        with pytest.raises(ValueError, match="no DICOM series"):
            series_files(kind(tmp_path))


def test_import_does_not_import_torch() -> None:
    code = "import sys, crossmodalnet; crossmodalnet.CrossModalNetConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TOP, check=False).returncode == 0
