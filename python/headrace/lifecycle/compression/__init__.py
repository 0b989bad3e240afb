"""Smaller and faster models: what each method does to a model; `compress` (run.py) measures what it cost and gave.

precision.py   bf16 and int8: the weights' numbers            grouped.py     8 and 4 bits in groups, of language models
heads.py       attention heads, by importance                 neurons.py     of feed-forward blocks, by importance
layers.py      whole layers, by importance                    weights.py     single weights, by magnitude
distill.py     a student learns from the model                importance.py  what pruning may take first
structure.py   where the parts of a layer are, by family      speed.py       two models' speed in turns, in our engine
"""
