"""What a task adds to an evaluation: its answers in the engine, and the figures of them."""
