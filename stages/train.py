"""Stage `train`: train one network on the training pairs."""

from typing import Annotated

from typer import Option


def main(
    model: Annotated[str, Option(help="network to train, one of `models` in params.yaml")],
    seed: Annotated[int, Option(help="one of `seeds`", min=0)] = 0,
    ablation: Annotated[str | None, Option(help="variant of crossmodalnet, one of `ablations`")] = None,
    adaptation: Annotated[str | None, Option(help="variant of the adaptation, one of `adaptations`")] = None,
) -> None:
    """Train a network on every device; resume an interrupted run with the same parameters."""
    from pipeline.training.params import read_params, with_adaptation
    from pipeline.training.processes import Processes, run_on_devices

    params = with_adaptation(read_params(model, ablation), adaptation)

    def work(processes: Processes) -> None:
        # Imported late: the process that only starts others needs no network libraries.
        from pipeline.training.train_model import train_model

        train_model(params, seed, processes)

    run_on_devices(
        work,
        devices=params.train.devices,
        batch_size=params.train.batch_size,
        command=[
            *("train", "--model", model, "--seed", str(seed)),
            *(("--ablation", ablation) if ablation else ()),
            *(("--adaptation", adaptation) if adaptation else ()),
        ],
    )
