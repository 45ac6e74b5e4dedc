import pytest

from pipeline.cohort.mmwhs import parse


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ct_train_1001_image.nii.gz", "ct_train_1001_image.nii.gz"),
        ("a b/c/CT_Train_1001_Label.NII", "ct_train_1001_label.nii.gz"),
        ("mri-test-2040-img.nii.gz", "mr_test_2040_image.nii.gz"),
        ("mr_train_1001_image (1).nii.gz", "mr_train_1001_image.nii.gz"),
        ("ct_train_1001_labels.nii.gz", "ct_train_1001_label.nii.gz"),
    ],
)
def test_published_names_and_what_becomes_of_them(path: str, expected: str) -> None:
    case = parse(path)
    assert case is not None
    assert case.file_name == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "readme.txt",
        "cti_train_1001_image.nii.gz",
        "ct_train_10011_image.nii.gz",
        "ct_test_2001_label_encrypt_1mm.nii.gz",
        "__MACOSX/ct_train_1001_image.nii.gz",
        "x/._ct_train_1001_image.nii.gz",
        "ct_train_1001_image.nii.gz.part",
    ],
)
def test_other_files(path: str) -> None:
    assert parse(path) is None


def test_subject() -> None:
    case = parse("mr_test_2007_image.nii")
    assert case is not None
    assert case.subject == "mr_2007"
