"""How do the tutorials serve a Keras model? Flask, Pillow and `keras.predict`, run by gunicorn."""

import io
import json
import os
from pathlib import Path

import keras
import numpy as np
from flask import Flask, Response, jsonify, request
from PIL import Image

root = Path(os.environ["BENCHMARK_CLASSIFIER"])
names = json.loads((root / "metadata.json").read_text())["class_names"]
whole = keras.saving.load_model(root / "model.keras")
model = keras.Model(whole.input, whole.outputs[0])
side = whole.input.shape[1]
app = Flask(__name__)


@app.route("/predict", methods=["POST"])
def predict() -> Response:
    """Answer one image."""
    image = Image.open(io.BytesIO(request.files["image"].read())).convert("RGB").resize((side, side))
    probabilities = model.predict(np.asarray(image)[None], verbose=0)[0]
    return jsonify(label=names[int(probabilities.argmax())], probability=float(probabilities.max()))


@app.route("/readyz")
def ready() -> str:
    """Answer once the model is loaded."""
    return "ready"
