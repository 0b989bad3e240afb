"""What they write next: requests that wait are encoded together, up to 32, in one worker thread."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sentence_transformers import SentenceTransformer

BATCH = 32
model = SentenceTransformer(os.environ["BENCH_MODEL"], device="cpu")
waiting: asyncio.Queue = asyncio.Queue()


async def batches() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as executor:
        while True:
            group = [await waiting.get()]
            while len(group) < BATCH and not waiting.empty():
                group.append(waiting.get_nowait())
            texts = [text for text, _ in group]
            vectors = await loop.run_in_executor(executor, model.encode, texts)
            for (_, answer), vector in zip(group, vectors.tolist(), strict=True):
                if not answer.done():
                    answer.set_result(vector)


@asynccontextmanager
async def lifespan(_: FastAPI):
    task = asyncio.create_task(batches())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/embed")
async def embed(body: dict) -> dict:
    answer = asyncio.get_running_loop().create_future()
    await waiting.put((body["text"], answer))
    return {"embedding": await answer}
