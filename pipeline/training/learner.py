"""Take training steps of a network."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crossmodalnet.errors import DivergenceError
from crossmodalnet.imaging.samples import Batch
from crossmodalnet.networks.common.parameters import EMA, parameter_groups
from crossmodalnet.training.balancing import AdaptiveBalancer
from crossmodalnet.training.objectives import evaluate_objectives
from pipeline.config.sections import LossesConfig, TrainConfig
from pipeline.training.checkpoint import Checkpoint, optimizer_tensors, prefixed, restore_optimizer
from pipeline.training.objectives import Objective, Step, TargetBatch
from pipeline.training.processes import Processes


class Learner:
    """A network in training with its optimizer, loss balancing, precision and EMA.

    Args:
        network: on the CPU; moved to this process's device.
        objective: makes the objective of the network on its device.
        offset_rate: learning rate of deformable offsets relative to the network's.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: LossesConfig,
        params: TrainConfig,
        processes: Processes,
        objective: Callable[[nn.Module], Objective] = Objective,
        offset_rate: float = 1.0,
    ) -> None:
        self._params = params
        self._processes = processes
        self._device = processes.device
        self.network = network.to(self._device)
        self._mean = EMA(self.network) if params.ema_decay else None
        self._groups = parameter_groups(self.network, offset_rate)
        self._optimizer = torch.optim.Adam(
            [{"params": group.parameters} for group in self._groups], lr=params.lr, fused=True
        )
        self.balancer = AdaptiveBalancer(losses.objectives, losses.balancing, losses.alpha)
        self._objective = objective(self.network)
        self._half: torch.dtype | None = None
        if self._device.type == "cuda" and params.mixed_precision == "auto":
            self._half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._half is torch.float16)
        self._parallel: nn.Module = self._objective.module
        if processes.world_size > 1:
            ids = [self._device] if self._device.type == "cuda" else None
            self._parallel = DistributedDataParallel(
                self._parallel, device_ids=ids, find_unused_parameters=self._objective.has_unused_parts
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the balanced objectives, then of the objective's terms."""
        return (*self.balancer.names, *self._objective.names)

    @property
    def weights(self) -> list[float]:
        """Weights of the next step, in the order of `names`; those of the terms are fixed."""
        return [*self.balancer.weights, *self._objective.weights]

    def target_batch_number(self, number: int, progress: float) -> int | None:
        """Return the number of the target batch for a step; None if it needs none."""
        return self._objective.target_batch_number(number, progress)

    @property
    def evaluated(self) -> nn.Module:
        """The network whose weights are kept: the EMA if there is one."""
        return self.network if self._mean is None else self._mean.module

    def autocast(self) -> AbstractContextManager[object]:
        """Return the precision context of forward passes."""
        return torch.autocast(self._device.type, dtype=self._half, enabled=self._half is not None)

    def step(
        self,
        batch: Batch,
        lr: float,
        number: int,
        step_name: str,
        *,
        target: TargetBatch | None = None,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """Take one step on this process's share of the global batch.

        Args:
            number: step of the whole training, for the EMA.
            target: target-domain samples; None for a source-only step.
            progress: finished share of the training, 0 to 1.

        Returns:
            Columns of the curve over the global batch: balanced loss, raw losses (NaN if absent), weights, measures.

        Raises:
            DivergenceError: a loss is NaN or infinite; lists the cases of the global batch.
        """
        self._parallel.train()
        image = batch.image.to(self._device, non_blocking=True)
        label = batch.label.to(self._device, non_blocking=True)
        if target is not None:
            target = TargetBatch(target.image.to(self._device, non_blocking=True), target.number)
        with self.autocast():
            outcome = self._objective.forward(self._parallel, Step(image, label, number, progress, target))
        losses = torch.cat([evaluate_objectives(self.balancer.names, outcome.logits, label), outcome.terms])
        sums = self._processes.sum([*losses.detach().tolist(), *outcome.measures.tolist()])
        means = [value / self._processes.world_size for value in sums]
        values, measures = means[: len(losses)], means[len(losses) :]
        if not all(math.isfinite(value) for value in values):
            self._fail(values, batch, step_name)
        weights = self.weights
        self._update((torch.tensor(weights, dtype=losses.dtype, device=self._device) * losses).sum(), lr)
        self.balancer.update(values[: len(self.balancer.names)])
        if self._mean is not None:
            # Shorter memory at first, to forget the random initialisation.
            self._mean.follow(self.network, min(self._params.ema_decay, (1 + number) / (10 + number)))
        self._objective.after_step()
        present = [name not in outcome.absent for name in self.names]
        return {
            "loss": sum(w * v for w, v, here in zip(weights, values, present, strict=True) if here),
            **{
                f"loss_{name}": value if here else math.nan
                for name, value, here in zip(self.names, values, present, strict=True)
            },
            **{f"weight_{name}": weight for name, weight in zip(self.names, weights, strict=True)},
            **dict(zip(self._objective.measures, measures, strict=True)),
        }

    def check_finite(self) -> None:
        """Raise DivergenceError if a weight is not finite."""
        for name, tensor in self.evaluated.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DivergenceError(
                    f"training diverged: {name} is NaN or infinite; lower train.lr or set train.grad_clip"
                )

    def tensors(self, *, finished: bool) -> dict[str, Tensor]:
        """Return the checkpoint's tensors; a finished training needs only the weights."""
        tensors = prefixed("network", self.network.state_dict())
        if self._mean is not None:
            tensors |= prefixed("averaged", self._mean.module.state_dict())
        if finished:
            return tensors
        return tensors | prefixed("optimizer", optimizer_tensors(self._optimizer)) | self._objective.tensors()

    def values(self) -> dict[str, Any]:
        """Return the checkpoint's JSON values."""
        return {"balancer": self.balancer.state(), "scaler": self._scaler.state_dict()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore tensors and values from a checkpoint."""
        self.network.load_state_dict(checkpoint.part("network"))
        if self._mean is not None:
            self._mean.module.load_state_dict(checkpoint.part("averaged"))
        if optimizer := checkpoint.part("optimizer"):
            restore_optimizer(self._optimizer, optimizer)
            self._objective.restore(checkpoint)
        self.balancer.restore(checkpoint.values["balancer"])
        if checkpoint.values["scaler"]:
            self._scaler.load_state_dict(checkpoint.values["scaler"])

    def _update(self, total: Tensor, lr: float) -> None:
        for group, settings in zip(self._groups, self._optimizer.param_groups, strict=True):
            settings["lr"] = lr * group.rate
        optimizers = [self._optimizer, *self._objective.optimizers()]
        for optimizer in optimizers:
            optimizer.zero_grad()
        self._scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        if self._params.grad_clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._params.grad_clip)
        for optimizer in filter(_has_gradients, optimizers):
            self._scaler.step(optimizer)
        self._scaler.update()

    def _fail(self, values: list[float], batch: Batch, step_name: str) -> None:
        cases = sorted({name for names in self._processes.gather(batch.names) for name in names})
        losses = ", ".join(f"{name} {value}" for name, value in zip(self.names, values, strict=True))
        raise DivergenceError(
            f"loss is not finite in {step_name}: {losses}; cases of the batch: {', '.join(cases)}. "
            "Look at these cases, or lower train.lr"
        )


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])
