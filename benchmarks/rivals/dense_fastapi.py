"""What one writes by hand: FastAPI, a pydantic model, one forward pass for each request."""

from __future__ import annotations

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from rivals.dense import describe, network

app = FastAPI()
net = network()


class Numbers(BaseModel):
    x: list[float]


class Text(BaseModel):
    text: str


@app.post("/predict")
async def predict(item: Numbers) -> dict[str, list[float]]:
    with torch.inference_mode():
        return {"score": net(torch.tensor([item.x]))[0].tolist()}


@app.post("/describe")
async def describe_text(item: Text) -> dict[str, int]:
    return describe(item.text)
