"""Models that are not the core's own: Python functions and other runtimes, batched and served as every other.

function.py    @headrace.model: what a function is and how it wants its batches
signature.py   the tensors that a model takes and gives, and what is checked before it sees any
work.py        one request: its items or tensors, and what comes back for them
runner.py      takes batches from the core's queue, has them run, ends their requests
target.py      runs a batch in this process
pool.py        runs it in another (worker.py), by shared memory (wire.py)
"""
