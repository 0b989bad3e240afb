"""What most people write first: FastAPI, sentence-transformers, one route."""

import os

from fastapi import FastAPI
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(os.environ["BENCH_MODEL"], device="cpu")


@app.post("/embed")
def embed(body: dict) -> dict:
    return {"embedding": model.encode([body["text"]])[0].tolist()}
