"""A training on several processes, as `torchrun` starts them: each has its share of every batch, all have one model.

Gradients are summed over the processes before each step, weighted by rows, so that a step is the one that a single
process would make. Alone, nothing here does anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@contextmanager
def processes() -> Iterator[None]:
    """Joins the processes that torchrun started, if it did, for the time of the context."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch

    if torch.distributed.is_initialized():
        yield
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) when it is alone."""
    torch = sys.modules.get("torch")  # whoever joined others has imported it; a table needs none of it
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def is_first() -> bool:
    """Whether this process is the one that writes and tells."""
    return place()[0] == 0


def wait() -> None:
    """Until all processes are here."""
    if place()[1] > 1:
        import torch

        torch.distributed.barrier()


def share(rows: Any) -> Any:
    """This process's rows of a batch."""
    rank, size = place()
    return rows[rank::size]


def of_first(compute: Callable[[], T]) -> T:
    """What `compute` gives in the first process, in all of them."""
    if place()[1] == 1:
        return compute()
    import torch

    found: list[Any] = [compute() if is_first() else None]
    torch.distributed.broadcast_object_list(found, src=0)
    answer: T = found[0]
    return answer


def sum_gradients(parameters: Sequence[torch.nn.Parameter], loss: float) -> float:
    """Sums the gradients over all processes, in place; the sum of their losses."""
    if place()[1] == 1:
        return loss
    import torch

    for weight in parameters:
        if weight.grad is None:  # no row of this batch came here
            weight.grad = torch.zeros_like(weight)
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    flat = torch.cat([torch.tensor([loss]), *(gradient.flatten() for gradient in gradients)])
    torch.distributed.all_reduce(flat)
    begin = 1
    for gradient in gradients:
        gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
        begin += gradient.numel()
    return float(flat[0])
