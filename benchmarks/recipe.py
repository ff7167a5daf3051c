"""What does the usual recipe cost? A frozen VGG16 under one dense layer, fitted from files as the tutorials do it."""

import json
import time
from typing import Any

import numpy as np

from benchmarks import child


def main() -> None:
    """Fit some epochs, measure the AUROC on the test images and print seconds."""
    asked = child.options()
    start = time.perf_counter()
    import keras
    import pandas as pd
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    imported = time.perf_counter()
    keras.utils.set_random_seed(asked["seed"])
    size, classes = (asked["size"], asked["size"]), asked["classes"]
    table = pd.DataFrame(asked["table"], columns=["path", "label", "split"])

    def images(split: str, shuffle: bool = False) -> Any:
        rows = table[table["split"] == split]
        return ImageDataGenerator(rescale=1 / 255).flow_from_dataframe(
            rows,
            asked["folder"],
            x_col="path",
            y_col="label",
            target_size=size,
            classes=classes,
            batch_size=16,
            shuffle=shuffle,
            seed=asked["seed"],
        )

    began, cpu = time.perf_counter(), time.process_time()
    backbone = keras.applications.VGG16(weights=None, include_top=False, input_shape=(*size, 3))
    backbone.trainable = False
    dense = keras.layers.Dense(len(classes), activation="softmax")
    model = keras.Sequential([backbone, keras.layers.Flatten(), dense])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    built = time.perf_counter()
    model.fit(images("train", shuffle=True), validation_data=images("validation"), epochs=asked["epochs"], verbose=0)
    seconds = {"import": imported - start, "build": built - began, "fit": time.perf_counter() - built}
    cpu = time.process_time() - cpu
    test = images("test")
    from diascope.metrics import macro_auroc

    auroc = macro_auroc(np.asarray(test.classes), model.predict(test, verbose=0).astype(np.float64))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "auroc": auroc}))


if __name__ == "__main__":
    main()
