"""Stage `tune`: try one learning rate on one network in a short training."""

from typing import Annotated

from typer import Option


def main(
    model: Annotated[str, Option(help="network to train, one of `tune.models` in params.yaml")],
    lr: Annotated[str, Option(help="learning rate, one of `tune.learning_rates`")],
) -> None:
    """Try a learning rate on the training pairs and write the Dice on the validation pairs."""
    from pipeline.training.processes import run_on_devices
    from pipeline.training.tuning import read_trial, run_trial

    params, seed, file = read_trial(model, lr)
    run_on_devices(
        lambda processes: run_trial(params, seed, file, processes),
        devices=params.train.devices,
        batch_size=params.train.batch_size,
        command=["tune", "--model", model, "--lr", lr],
    )
