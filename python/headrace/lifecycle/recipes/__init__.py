"""What a task adds to the training loop: its rows as tokens, its model, its loss, its figures, its folder."""
