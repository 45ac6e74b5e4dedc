"""A model folder packed to one file, after it was loaded as `predict` loads it."""

from pathlib import Path

from crossmodalnet.inference.model_folder import pack_model
from pipeline.prediction.patient import load_predictor
from pipeline.runtime.errors import DataError, ResourceError, UsageError


def pack_checked(folder: Path, file: Path) -> int:
    """Pack a model that can be loaded.

    Args:
        folder: folder that stage `export` wrote.
        file: file to write; replaced only if it is a packed model.

    Returns:
        Size of the file, bytes.

    Raises:
        UsageError: `folder` is no folder, or `file` is something else than a packed model.
        DataError: the model is damaged, incomplete or of another version.
        ResourceError: the file cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give one that `dvc repro export` has written")
    load_predictor([folder], "cpu")
    try:
        pack_model(folder, file)
    except FileExistsError as error:
        raise UsageError(f"{file} exists and is no packed model: choose another name") from error
    except ValueError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise ResourceError(f"{file} cannot be written ({error})") from error
    return file.stat().st_size
