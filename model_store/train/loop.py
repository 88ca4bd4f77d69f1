"""A problem in, its parameters moved to where its loss is small: the one loop of all that trains.

Deterministic for a seed: the examples of a step are a pure function of its number. A run goes on from its last
checkpoint. Started by `torchrun`, every process takes its share of each batch and the gradients are added up.
"""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from model_store.train import checkpoint
from model_store.train.batches import Batches
from model_store.train.checkpoint import Standing
from model_store.train.schedule import share
from model_store.train.settings import Optimisation
from model_store.train.studio import Told, Watch

_MOMENTS = ("exp_avg", "exp_avg_sq")

_PATIENCE = timedelta(days=7)
"""How long processes wait for each other: the first writes down what the teacher hears, and measures held-out WER."""


class Problem(Protocol):
    """What is trained: parameters, examples of some lengths, and a loss of some of these."""

    @property
    def parameters(self) -> Mapping[str, Tensor]: ...

    @property
    def lengths(self) -> Sequence[float]:
        """Of each example, in seconds."""
        ...

    def weight(self, example: int) -> float:
        """By how much an example counts: its tokens, say."""
        ...

    def loss(self, examples: Sequence[int]) -> Tensor:
        """Summed over what `weight` counts."""
        ...


class Company:
    """The processes of a run: one, unless torch's launcher started several."""

    def __init__(self) -> None:
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.count > 1 and not torch.distributed.is_initialized():
            backend = "nccl" if torch.cuda.is_available() else "gloo"
            torch.distributed.init_process_group(backend, timeout=_PATIENCE)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """A GPU of its own, or the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """Together: one that ends while another still talks to it takes it down."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
            # Gloo's threads end with the last reference to it; while the interpreter ends they would abort the process.
            gc.collect()

    def add_up(self, tensor: Tensor) -> Tensor:
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor


def train(
    problem: Problem,
    settings: Optimisation,
    *,
    seed: int,
    digest: str,
    path: Path,
    held_out: Callable[[], float] | None = None,
    watch: Watch = lambda _: None,
) -> Standing:
    """Moves the problem's parameters in place.

    Args:
        problem: what is trained.
        settings: how.
        seed: of the order of examples.
        digest: of all that the outcome depends on.
        path: of the checkpoint.
        held_out: the WER as it stands, in percent.
        watch: is told of every step.
    """
    return _Run(problem, settings, seed, digest, path, held_out, watch).to_the_end()


class _Run:
    def __init__(
        self,
        problem: Problem,
        settings: Optimisation,
        seed: int,
        digest: str,
        path: Path,
        held_out: Callable[[], float] | None,
        watch: Watch,
    ) -> None:
        self._problem, self._settings, self._path, self._held_out, self._watch = (
            problem,
            settings,
            path,
            held_out,
            watch,
        )
        self._company = Company()
        self._batches = Batches(problem.lengths, seconds=settings.batch_s, rows=settings.rows, seed=seed)
        self._names, self._tensors = list(problem.parameters), list(problem.parameters.values())
        for tensor in self._tensors:
            tensor.requires_grad_()
        self._optimiser = torch.optim.AdamW(self._tensors, lr=settings.peak, weight_decay=settings.weight_decay)
        self._best: dict[str, Tensor] = {}
        self._standing = Standing(digest)
        self._restore(digest)

    def to_the_end(self) -> Standing:
        settings, standing = self._settings, self._standing
        while standing.step < settings.steps and not self._stale():
            loss, rate = self._step(standing.step)
            standing.losses.append(loss)
            standing.step += 1
            wer = None
            last = standing.step == settings.steps
            if self._held_out and settings.validate_every and (last or standing.step % settings.validate_every == 0):
                wer = self._measured()
            if self._company.leads and (last or wer is not None or standing.step % settings.checkpoint_every == 0):
                self._save()
            self._watch(Told(standing.step, settings.steps, loss, rate, wer))
        with torch.no_grad():
            for name, best in self._best.items():
                self._problem.parameters[name].copy_(best)
        return standing

    def _step(self, step: int) -> tuple[float, float]:
        settings = self._settings
        rate = settings.peak * share(step, settings.steps, schedule=settings.schedule, warm_up=settings.warm_up)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        first = step * settings.accumulate
        batches = [self._batches.batch(number) for number in range(first, first + settings.accumulate)]
        weight = sum(self._problem.weight(example) for batch in batches for example in batch)
        self._optimiser.zero_grad(set_to_none=False)
        total = torch.zeros((), device=self._tensors[0].device)
        for batch in batches:
            ours = batch[self._company.rank :: self._company.count]
            if not ours:
                continue
            with self._cast():
                loss = self._problem.loss(ours) / weight
            loss.backward()
            total += loss.detach()
        for tensor in self._tensors:
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
            self._company.add_up(tensor.grad)
        torch.nn.utils.clip_grad_norm_(self._tensors, settings.clip)
        self._optimiser.step()
        return float(self._company.add_up(total)), rate

    def _cast(self) -> AbstractContextManager[object]:
        if self._settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._tensors[0].device.type, torch.bfloat16)

    def _measured(self) -> float:
        """The held-out WER, and the parameters kept if it is the best."""
        found = torch.zeros((), device=self._tensors[0].device)
        if self._company.leads and self._held_out:
            found += self._held_out()
        wer = float(self._company.add_up(found))
        held_out = self._standing.held_out
        if not held_out or wer < min(held_out.values()):
            self._best = {name: tensor.detach().clone() for name, tensor in self._problem.parameters.items()}
        held_out[self._standing.step] = wer
        return wer

    def _stale(self) -> bool:
        """Whether the last measurements brought nothing better."""
        measured = list(self._standing.held_out.values())
        return len(measured) > self._settings.patience and min(measured[-self._settings.patience :]) > min(measured)

    def _save(self) -> None:
        kept = {f"now/{name}": tensor for name, tensor in zip(self._names, self._tensors, strict=True)}
        kept |= {f"best/{name}": tensor for name, tensor in self._best.items()}
        for name, tensor in zip(self._names, self._tensors, strict=True):
            kept |= {f"{kind}/{name}": self._optimiser.state[tensor][kind] for kind in _MOMENTS}
        checkpoint.save(self._path, self._standing, kept)

    def _restore(self, digest: str) -> None:
        found = checkpoint.load(self._path, digest)
        if found is None:
            return
        self._standing, kept = found
        with torch.no_grad():
            for name, tensor in zip(self._names, self._tensors, strict=True):
                tensor.copy_(kept[f"now/{name}"])
                state = {kind: kept[f"{kind}/{name}"].to(tensor.device) for kind in _MOMENTS}
                self._optimiser.state[tensor] = {"step": torch.tensor(float(self._standing.step)), **state}
        self._best = {name: kept[f"best/{name}"] for name in self._names if f"best/{name}" in kept}
