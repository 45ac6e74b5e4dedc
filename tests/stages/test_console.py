import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossmodalnet.io.outputs import whole_folder
from pipeline import doctor
from pipeline.config import presets
from pipeline.config.params import Params, read_raw, validate
from pipeline.config.render import render
from stages import app as console
from tests.stages.conftest import Place

ExitCode = Callable[..., int]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "params.yaml").write_text(render(Params()))
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(console.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch) -> ExitCode:
    def of(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["crossmodalnet", *arguments])
        with pytest.raises(SystemExit) as left:
            console.main()
        return int(left.value.code or 0)

    return of


def test_using_a_preset_writes_it_and_shows_what_changed(folder: Path) -> None:
    output = run("params", "use", "paper")
    assert (folder / "params.yaml").read_text("utf-8") == render(presets.load("paper"))
    assert all(text in output for text in ("train.lr", "0.008", "1e-05"))
    assert "train.lr" in run("params", "show")


def test_a_preset_keeps_the_users_data_though_other_keys_are_wrong(folder: Path) -> None:
    data = "data: {source: table, path: h.csv, labels: {LV: 1}}"
    (folder / "params.yaml").write_text(f"{data}\ntrain: {{lr: fast}}\nadapt: {{target: {{source: mmwhs, path: t}}}}\n")
    run("params", "use", "compare")
    kept = validate(Params, read_raw(), "")
    assert (kept.data.source, kept.data.path, kept.data.labels) == ("table", "h.csv", {"LV": 1})
    assert (kept.adapt.target.path, kept.train.epochs) == ("t", 16)
    (folder / "params.yaml").write_text("data: {")
    run("params", "use", "default")
    assert (folder / "params.yaml.bak").read_text() == "data: {"


def test_a_key_is_explained_without_its_section() -> None:
    assert "train.lr" in run("params", "explain", "lr").splitlines()[2]
    assert "train.lr" in run("params", "explain", "train.learning_rate").splitlines()[2]


def test_a_key_that_the_file_lacked_is_shown_though_its_value_is_the_default(folder: Path) -> None:
    text = render(Params())
    lines = [line for line in text.splitlines() if not line.startswith("  min_gain:")]
    (folder / "params.yaml").write_text("\n".join(lines))
    assert "register.min_gain" in run("params", "use", "default")
    assert "no value changed" in run("params", "use", "default")
    assert "holds the defaults" in run("params", "show")


def test_explaining_a_key_gives_its_meaning_and_range() -> None:
    output = run("params", "explain", "crop.margin_mm")
    assert all(text in output for text in ("heart ROI", ">= 0", "5.0"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("params use best", 2), ("params explain train.lrr", 2), ("nonsense", 2), ("register", 3), ("crop", 3),
        ("data check", 2), ("data check lacks.csv", 3),
    ],
)  # fmt: skip
def test_mistakes_exit_with_2_and_missing_input_with_3(exit_code: ExitCode, arguments: str, code: int) -> None:
    assert exit_code(*arguments.split()) == code


def remedies(subject: str, folder: Path) -> list[str]:
    return [f.remedy for f in doctor.examine(folder) if f.subject == subject and not f.is_ok]


def test_doctor_finds_nothing_wrong_with_the_packages_and_parameters(folder: Path) -> None:
    assert remedies("package", folder) == remedies("params", folder) == remedies("data", folder) == []


@pytest.mark.parametrize(
    ("text", "subject", "remedy"),
    [
        ("data: {source: mmwhs}", "data", "register at https://zmiclab.github.io"),
        ("data: {source: mmwhs, path: /nowhere}", "data", "set data.path"),
        ("train: {devices: 3, batch_size: 4}", "fit", "multiple of train.devices"),
        ("train: {lr: fast}", "params", "params use default"),
    ],
)
def test_doctor_says_what_to_do(folder: Path, text: str, subject: str, remedy: str) -> None:
    (folder / "params.yaml").write_text(text)
    assert remedy in remedies(subject, folder)[0]


def test_doctor_warns_of_patches_too_large_for_the_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    (folder / "params.yaml").write_text("train: {patch_size: [96, 96, 96]}")
    assert "a GPU" in remedies("fit", folder)[0]


def test_wasteful_window_is_reported(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "network: {crossmodalnet: {window: [4, 4, 4], cross_window: [[5, 5, 5], null]}}"
    (folder / "params.yaml").write_text(text)
    run("params", "show")
    wasteful = "network.crossmodalnet.window [4, 4, 4] adds 73% to the [10, 10, 10] tokens of level 1"
    assert any(record.message.startswith(wasteful) for record in caplog.records)
    found, coarse = [f for f in doctor.examine(folder) if "crossmodalnet.window" in f.text]
    assert found.text.startswith(wasteful)
    assert "level 2" in coarse.text


def test_data_check_of_faults_exits_with_3(place: Place, exit_code: ExitCode) -> None:
    (place.cohort / "ct_train_1001_label.nii.gz").unlink()
    assert exit_code("data", "check") == 3
    assert not (place.top / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "--ct", "", "--out", "o"], "option --ct is empty: is a variable of the shell not set?"),
        (["predict", "--ct", "a", "--out="], "option --out is empty"),
        (["data", "check", ""], "an argument is empty"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(
    exit_code: ExitCode, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert exit_code(*arguments) == 2
    assert says in capsys.readouterr().err


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard; a shell lets what it starts in the background ignore it, these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_it_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch, exit_code: ExitCode, sent: int, code: int
) -> None:

    def killed(*_: object) -> None:
        with whole_folder(folder / "out") as new:
            (new / "half").touch()
            signal.raise_signal(sent)

    monkeypatch.setattr("crossmodalnet.inference.patients.load_predictor", killed)
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code("predict", "--ct", "params.yaml", "--model", "params.yaml", "--out", "o") == code
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]
    assert signal.getsignal(signal.SIGTERM) is before
