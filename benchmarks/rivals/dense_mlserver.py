"""MLServer with its adaptive batching; the Open Inference Protocol."""

from __future__ import annotations

import torch
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from rivals.dense import network


class Dense(MLModel):
    async def load(self) -> bool:
        self.net = network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        with torch.inference_mode():
            score = self.net(torch.from_numpy(x.astype("float32"))).numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("score", score)])
