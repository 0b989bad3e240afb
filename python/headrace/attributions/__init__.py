"""Why a model answered so: what each word, patch or feature of one input did for the answer, asked of the engine.

coalitions.py   which pieces to leave out at a time, and what the answers say of each piece
pieces.py       inputs as pieces that can be left out: words, patches, features
jobs.py         texts and pictures: one job of all evaluations
items.py        functions and models of tensors: one request of all evaluations
explanation.py  the result; show.py and charts.py draw it
methods.py      Model.explain and its async twin
"""
