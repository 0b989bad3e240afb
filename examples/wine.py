"""A Keras 3 model on torch: which of three growers a wine is from, by 13 measurements of 178 real ones."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from serving import arguments, report, serve
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import headrace


def main() -> None:
    options = arguments(__doc__)
    data = load_wine()
    train_x, x, train_y, y = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.3, random_state=0, stratify=data.target
    )
    keras.utils.set_random_seed(0)
    scale = keras.layers.Normalization()
    scale.adapt(train_x)
    layers = [keras.Input((13,), name="x"), scale, keras.layers.Dense(16, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.02
    model.fit(train_x, train_y, epochs=20, batch_size=32, verbose=0)
    found = np.asarray(model.predict(x, verbose=0)).argmax(1)
    report("wine, scikit-learn", accuracy=float((found == y).mean()))
    headrace.package(
        model, options.folder, example_inputs={"x": x[:16]}, outputs=["probabilities"], labels=["0", "1", "2"]
    )
    serve(options, {"x": x[0].tolist()})


if __name__ == "__main__":
    main()
