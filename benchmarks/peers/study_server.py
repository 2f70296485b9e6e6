"""A server like that of the 2023 study that drdeploy follows: FastAPI calls ``model.predict``."""

from __future__ import annotations

import io
import os

import keras
import numpy as np
from fastapi import FastAPI, Request
from PIL import Image

app = FastAPI()
model = keras.models.load_model(os.environ["PEER_KERAS"], compile=False)


@app.post("/invocations")
async def invocations(request: Request) -> dict[str, object]:
    """Return the probabilities of the grades of a photograph."""
    image = Image.open(io.BytesIO(await request.body())).convert("RGB").resize((224, 224))
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return {"predictions": model.predict(pixels[None], verbose=0).tolist()}
