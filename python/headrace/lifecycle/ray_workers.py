"""A training on workers of Ray Train: on this machine, or on the cluster that RAY_ADDRESS names.

Ray starts the workers and joins them (torch's process group, gloo); what they then do is what processes of torchrun do
(distributed.py): each has its share of every batch. Files and folders must be the same to all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Error, InvalidArgumentError

if TYPE_CHECKING:
    from .result import Training


def train_on_ray(workers: int, arguments: Mapping[str, Any]) -> Training:
    """`train(**arguments)` on so many workers; what the first of them gave.

    Raises what the training raises, InvalidArgumentError (no worker), ImportError (Ray is missing), RuntimeError (a
    worker died: `resume` goes on).
    """
    if workers < 1:
        raise InvalidArgumentError(f"ray_workers={workers}: must be 1 or more")
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.util.queue import Queue
    except ImportError:
        raise ImportError("training on Ray's workers needs it: pip install 'headrace[cluster]'") from None
    out = Path(arguments["out"]).absolute()
    own = out.parent / f".{out.name}-ray"  # Ray's own records, which all workers must see
    is_mine = not ray.is_initialized()
    if is_mine:
        # No data goes through Ray's store of objects; on a machine alone it need not be large.
        alone = {} if os.environ.get("RAY_ADDRESS") else {"object_store_memory": 100 << 20}
        ray.init(include_dashboard=False, log_to_driver=False, **alone)
    try:
        answers = Queue(maxsize=workers, actor_options={"num_cpus": 0})
        trainer = TorchTrainer(
            _work,
            train_loop_config={"arguments": _absolute(arguments), "answers": answers},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=RunConfig(name="run", storage_path=str(own)),
        )
        failed: Exception | None = None
        try:
            trainer.fit()
        except Exception as error:  # of Ray: it wraps what a worker raised
            failed = error
        found: Any = None if answers.empty() else answers.get()
        if isinstance(found, Error):
            raise found from None
        if failed is not None:
            raise RuntimeError(
                f"a worker of Ray failed; resume=True (--resume) goes on: {failed}"
            ) from failed
        answer: Training = found
        return answer
    finally:
        if is_mine:
            ray.shutdown()
        shutil.rmtree(own, ignore_errors=True)


def _absolute(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Workers have another working directory."""
    files = ("data", "base", "out", "validation_file", "test_file")
    return {
        name: str(Path(value).absolute())
        if name in files and value is not None and (name == "out" or Path(value).exists())
        else value
        for name, value in arguments.items()
    }


def _work(config: dict[str, Any]) -> None:
    """In each worker, whose process group Ray has made."""
    from .distributed import is_first
    from .training import train

    try:
        result = train(**config["arguments"])
    except Error as error:
        config["answers"].put(error)
        raise
    if is_first():
        config["answers"].put(result)
