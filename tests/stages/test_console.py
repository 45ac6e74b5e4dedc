"""The console around the stages: params, doctor, errors and exit codes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossmodalnet.io.outputs import whole_folder
from pipeline import doctor
from pipeline.config import presets
from pipeline.config.params import Params
from pipeline.config.render import render
from stages import app as console


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


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["crossmodalnet", *arguments])
    with pytest.raises(SystemExit) as left:
        console.main()
    return int(left.value.code or 0)


def test_using_a_preset_writes_it_and_shows_what_changed(folder: Path) -> None:
    output = run("params", "use", "paper")
    assert (folder / "params.yaml").read_text("utf-8") == render(presets.load("paper"))
    assert all(text in output for text in ("train.lr", "0.008", "1e-05"))
    assert "train.lr" in run("params", "show")


def test_a_key_that_the_file_lacked_is_shown_though_its_value_is_the_default(folder: Path) -> None:
    text = render(Params())
    line = next(line for line in text.splitlines() if line.startswith("  min_gain:"))
    (folder / "params.yaml").write_text(text.replace(f"{line}\n", ""))
    assert "register.min_gain" in run("params", "use", "default")
    assert "no value changed" in run("params", "use", "default")


def test_showing_the_defaults_says_so() -> None:
    assert "holds the defaults" in run("params", "show")


def test_explaining_a_key_gives_its_meaning_and_range() -> None:
    output = run("params", "explain", "crop.margin_mm")
    assert all(text in output for text in ("heart ROI", ">= 0", "5.0"))


@pytest.mark.parametrize(
    "arguments", [("params", "use", "best"), ("params", "explain", "train.lrr"), ("nonsense",)]
)
def test_what_cannot_be_meant_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert exit_code(monkeypatch, *arguments) == 2


def test_a_stage_without_its_input_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert exit_code(monkeypatch, "register") == 3


def test_unknown_keys_are_named_by_every_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "params.yaml").write_text("crop: {margin: 3}\n")
    assert exit_code(monkeypatch, "crop") == 2


def remedies(subject: str, folder: Path) -> list[str]:
    return [f.remedy for f in doctor.examine(folder) if f.subject == subject and not f.is_ok]


def test_doctor_finds_nothing_wrong_with_the_packages_and_parameters(folder: Path) -> None:
    assert remedies("package", folder) == remedies("params", folder) == remedies("data", folder) == []


def test_doctor_asks_for_a_git_repository(folder: Path) -> None:
    assert "git clone" in remedies("repository", folder)[0]


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


def test_a_window_that_wastes_tokens_is_named_by_params_and_doctor(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = presets.load("default").model_dump()
    values["network"]["crossmodalnet"] |= {"window": (4, 4, 4), "cross_window": ((5, 5, 5), None)}
    (folder / "params.yaml").write_text(render(Params.model_validate(values)))
    run("params", "show")
    wasteful = "network.crossmodalnet.window [4, 4, 4] adds 73% to the [10, 10, 10] tokens of level 1"
    assert any(record.message.startswith(wasteful) for record in caplog.records)
    found, coarse = [f for f in doctor.examine(folder) if "crossmodalnet.window" in f.text]
    assert found.text.startswith(wasteful)
    assert found.remedy == "null chooses the window that adds least"
    assert "level 2" in coarse.text


@pytest.mark.parametrize("preset", presets.names())
def test_no_preset_wastes_tokens(preset: str) -> None:
    from pipeline.config.consistency import wasteful_windows

    assert wasteful_windows(presets.load(preset)) == []


def test_data_check_needs_a_path_and_exits_with_3_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(monkeypatch, "data", "check") == 2
    assert exit_code(monkeypatch, "data", "check", "lacks.csv") == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "--ct", "", "--out", "o"], "option --ct is empty: is a variable of the shell not set?"),
        (["predict", "--ct", "a", "--out="], "option --out is empty"),
        (["data", "check", ""], "an argument is empty"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert exit_code(monkeypatch, *arguments) == 2
    assert says in capsys.readouterr().err


def test_an_empty_value_that_says_something_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for mirror in (["--mirror", ""], ["--mirror="]):
        exit_code(monkeypatch, "predict", "--ct", "a", "--out", "o", "--labels", "none", *mirror)
    assert capsys.readouterr().err.count("--labels must be") == 2


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard; a shell lets what it starts in the background ignore it, these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sent: int, code: int
) -> None:
    """Schedulers and `timeout` send SIGTERM, and then what is being written shall be removed as after Ctrl-C."""

    def killed(*_: object) -> None:
        with whole_folder(tmp_path / "out") as new:
            (new / "half").touch()
            signal.raise_signal(sent)

    monkeypatch.setattr("crossmodalnet.inference.patients.load_predictor", killed)
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code(monkeypatch, "predict", "--ct", "a", "--out", "o") == code
    assert "interrupted" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert signal.getsignal(signal.SIGTERM) is before
