"""Write into dvc.yaml, per stage, the project files that the stage's module imports: `make deps`."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipeline.imports import TOP, closure


def command(stage: dict[str, Any]) -> str:
    """Name the subcommand that a stage runs: the word after `${run}`."""
    return str(stage["cmd"]).split()[1]


def main() -> None:
    """Replace the `.py` deps of every stage by its import closure; other deps stay, before them."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = TOP / "dvc.yaml"
    document: Any = yaml.load(path.read_text())
    for stage in document["stages"].values():
        data = [dep for dep in stage.get("deps") or [] if not str(dep).endswith(".py")]
        deps = CommentedSeq([*data, *(file.as_posix() for file in closure(f"stages.{command(stage)}"))])
        if not stage.get("deps"):
            stage.pop("deps", None)
            stage.insert(list(stage).index("outs"), "deps", deps)
        elif list(stage["deps"]) != list(deps):
            stage["deps"][:] = deps
    temporary = Path(f"{path}.tmp")
    with temporary.open("w") as file:
        yaml.dump(document, file)
    temporary.replace(path)


if __name__ == "__main__":
    main()
