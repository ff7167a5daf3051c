"""How do a backbone and a fitted head become one stored classifier? (imports Keras: import this module late)"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from diascope import __version__
from diascope.block_lengths import NOTHING, lengths
from diascope.classifier import METADATA, ActivationMap, Classifier, ClassifierInfo, sha256
from diascope.engine import export
from diascope.familiarity import Reference
from diascope.features import BackboneInfo, FeatureBlock
from diascope.heads import Head
from diascope.views import attach_return, attach_view

PACKAGES = ("keras", "tensorflow", "openvino", "numpy", "pillow", "scikit-learn")
LINEAR = ("avg", "flatten")  # poolings of which a linear head makes a sum over positions


def store_classifier(
    network: keras.Model,
    head: Head,
    backbone: BackboneInfo,
    info: ClassifierInfo,
    root: Path,
    reference: Reference | None = None,
) -> Classifier:
    """Write the classifier into an empty folder: one graph from pixels to calibrated probabilities.

    Parameters
    ----------
    network: uint8 image -> [features, map, …], one map for every image size and layer, with its final weights.
    head: features -> calibrated logits.
    reference: of the training images, where `info.familiarity` has a threshold for the distance to it.
    """
    # The network as one layer: its operations got their names in another process, and would clash with new ones.
    image = keras.Input(network.input.shape[1:], dtype="uint8", name="image")
    features, *maps = network(image)
    logits = head.attach(features)
    activation = _activation_map(features, maps, head, backbone.blocks, backbone.spec.feature_norm)
    if backbone.spec.views:
        features, logits, activation = _over_views(image, features, logits, activation, backbone.spec.views)
    outputs = {"probabilities": layers.Softmax(name="probabilities")(logits)}
    if activation is not None:
        outputs["activation_map"] = activation
    if reference is not None and info.familiarity is not None:
        outputs["distance"] = reference.attach(features, info.familiarity.threshold)
    model = keras.Model(image, list(outputs.values()), name="classifier")
    model.save(root / "model.keras")
    export(model, root / "model.xml", list(outputs))
    grid = None if activation is None else ActivationMap(grid=activation.shape[1:3], exact=_is_linear(backbone.blocks))
    files = {path.name: sha256(path) for path in sorted(root.iterdir())}
    info = info.model_copy(update={"activation_map": grid, "files": files, "versions": _versions()})
    (root / METADATA).write_text(info.model_dump_json(indent=1), encoding="utf-8")
    return Classifier.load(root)


def _over_views(
    image: keras.KerasTensor,
    features: keras.KerasTensor,
    logits: keras.KerasTensor,
    activation: keras.KerasTensor | None,
    views: list[str],
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor | None]:
    """Average logits, and maps laid back on the image, over its views; the features are those of the image as it is.

    The mean of the maps over positions is then the mean of the logits less their constant, as for one view.
    """
    outputs = [features, logits] if activation is None else [features, logits, activation]
    one = keras.Model(image, outputs, name="one_view")
    features, *plain = one(image)
    every = [plain, *(one(attach_view(image, view))[1:] for view in views)]
    mean = layers.Average()([each[0] for each in every])
    if activation is None:
        return features, mean, None
    maps = [each[1] for each in every]
    back = [maps[0], *(attach_return(each, view) for each, view in zip(maps[1:], views, strict=True))]
    return features, mean, layers.Average()(back)


def _is_linear(blocks: list[FeatureBlock]) -> bool:
    return all(block.pooling in LINEAR for block in blocks)


def _activation_map(
    features: keras.KerasTensor, maps: list[keras.KerasTensor], head: Head, blocks: list[FeatureBlock], norm: str
) -> keras.KerasTensor | None:
    """Apply the head's weights for averaged features to every position, summed over layers at the finest grid.

    Averaging the map over positions gives back that part of the logit exactly (Zhou et al. 2016); a head with a
    hidden layer has no such map.
    """
    averaged = [block for block in blocks if block.pooling in LINEAR]
    if len(head.layers) > 1 or not averaged:
        return None
    own = _maps_of(averaged, blocks, maps)
    factors, constants = _per_block(own, averaged, features, head, norm)
    by_grid: dict[tuple[int, int], list[keras.KerasTensor]] = {}
    for place, (block, feature_map) in enumerate(zip(averaged, own, strict=True)):
        weights = head.layers[0][0][block.start : block.stop]
        if head.scaling:
            weights = weights / head.scaling.scale[block.start : block.stop, None]
        if block.pooling == "flatten":
            part = _place_by_place(feature_map, weights, f"map_{place}")
        else:
            convolution = layers.Conv2D(weights.shape[1], 1, use_bias=False, name=f"map_{place}")
            part = convolution(feature_map)
            convolution.set_weights([np.asarray(weights)[None, None]])
        if factors is not None:
            part = part * factors[:, None, None, place : place + 1]
        by_grid.setdefault(part.shape[1:3], []).append(part)
    finest = max(by_grid, key=lambda shape: shape[0])
    sums = {grid: _added(parts) for grid, parts in by_grid.items()}
    whole = _added([each if grid == finest else _enlarged(each, finest) for grid, each in sums.items()])
    return whole if constants is None else whole - constants


def _maps_of(
    averaged: list[FeatureBlock], blocks: list[FeatureBlock], maps: list[keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """The feature map that each block is the average of."""
    places = list(dict.fromkeys((block.size, block.layer) for block in blocks))
    return [maps[places.index((block.size, block.layer))] for block in averaged]


def _per_block(
    maps: list[keras.KerasTensor],
    averaged: list[FeatureBlock],
    features: keras.KerasTensor,
    head: Head,
    norm: str,
) -> tuple[keras.KerasTensor | None, keras.KerasTensor | None]:
    """What brings averages to the length they have in front of the head (n, n_averaged), and what is taken off then.

    The latter is (n, 1, 1, n_classes), the same at each position. None: nothing.
    """
    factors, constants = None, None
    if norm == "l2":
        pooled = [layers.GlobalAveragePooling2D()(each) for each in maps]
        joined = layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]
        factors = 1 / lengths(joined, [each.shape[-1] for each in pooled], NOTHING)
    if head.scaling:
        scaling = head.scaling
        every = 1 / lengths(scaling.attach_standardised(features), scaling.widths)
        places = [scaling.bounds.index((block.start, block.stop)) for block in averaged]
        scaled = ops.stack([every[:, place] for place in places], axis=-1)
        means, weights = scaling.mean / scaling.scale, head.layers[0][0]
        taken_off = np.stack([means[b.start : b.stop] @ weights[b.start : b.stop] for b in averaged])
        off = layers.Dense(taken_off.shape[1], use_bias=False, name="map_constants")
        constants = ops.expand_dims(ops.expand_dims(off(scaled), 1), 1)
        off.set_weights([taken_off.astype(np.float32)])
        factors = scaled if factors is None else factors * scaled
    return factors, constants


def _added(parts: list[keras.KerasTensor]) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else layers.Add()(parts)


def _place_by_place(feature_map: keras.KerasTensor, weights: np.ndarray, name: str) -> keras.KerasTensor:
    """Apply the weights of flattened features to the place each is of; their sum is the mean over positions."""
    _, height, width, channels = feature_map.shape
    places, classes = height * width, weights.shape[1]
    dense = layers.EinsumDense("npk,pkc->npc", (places, classes), name=name)
    part = dense(layers.Reshape((places, channels))(feature_map))
    dense.set_weights([places * weights.reshape(places, channels, classes)])
    return layers.Reshape((height, width, classes))(part)


def _enlarged(part: keras.KerasTensor, grid: tuple[int, int]) -> keras.KerasTensor:
    """Interpolate a map (n, height, width, classes) without changing its mean over positions."""
    large = ops.image.resize(part, grid)
    return large + ops.mean(part, axis=(1, 2), keepdims=True) - ops.mean(large, axis=(1, 2), keepdims=True)


def _versions() -> dict[str, str]:
    return {"diascope": __version__, **{package: _version(package) for package in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return version(f"{package}-cpu")  # TensorFlow's build without CUDA is a package of its own
