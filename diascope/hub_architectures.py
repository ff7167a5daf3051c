"""What do KerasHub's presets look like inside, so that one with random weights needs no download?

KerasHub's package names its presets; what they are made of comes with their weights. Here it is in the forms of
`config.json` that KerasHub reads: a timm architecture, or a class with its arguments.
"""

from collections.abc import Mapping
from typing import Any

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, per channel, for pixels from 0 to 1

TIMM: Mapping[str, str] = {
    **{f"resnet_{n}_imagenet": f"resnet{n}" for n in (18, 50, 101, 152)},
    **{f"resnet_v2_{n}_imagenet": f"resnetv2_{n}" for n in (50, 101)},
    **{f"vgg_{n}_imagenet": f"vgg{n}" for n in (11, 13, 16, 19)},
    **{f"densenet_{n}_imagenet": f"densenet{n}" for n in (121, 169, 201)},
    "csp_darknet_53_ra_imagenet": "cspdarknet53",
    "csp_resnext_50_ra_imagenet": "cspresnext50",
    "csp_resnet_50_ra_imagenet": "cspresnet50",
    "darknet_53_imagenet": "darknet53",
    "mobilenet_v3_small_050_imagenet": "mobilenetv3_small_050",
    "mobilenet_v3_small_100_imagenet": "mobilenetv3_small_100",
    "mobilenet_v3_large_100_imagenet": "mobilenetv3_large_100",
    "mobilenet_v3_large_100_imagenet_21k": "mobilenetv3_large_100",
    "efficientnet_b0_ra_imagenet": "efficientnet_b0",
    "efficientnet_b0_ra4_e3600_r224_imagenet": "efficientnet_b0",
    "efficientnet_b1_ft_imagenet": "efficientnet_b1",
    "efficientnet_b1_ra4_e3600_r240_imagenet": "efficientnet_b1",
    "efficientnet_b2_ra_imagenet": "efficientnet_b2",
    "efficientnet_b3_ra2_imagenet": "efficientnet_b3",
    "efficientnet_b4_ra2_imagenet": "efficientnet_b4",
    "efficientnet_b5_sw_imagenet": "efficientnet_b5",
    "efficientnet_b5_sw_ft_imagenet": "efficientnet_b5",
    "efficientnet_el_ra_imagenet": "efficientnet_el",
    "efficientnet_em_ra2_imagenet": "efficientnet_em",
    "efficientnet_es_ra_imagenet": "efficientnet_es",
    "efficientnet_lite0_ra_imagenet": "efficientnet_lite0",
    "efficientnet2_rw_m_agc_imagenet": "efficientnetv2_rw_m",
    "efficientnet2_rw_s_ra2_imagenet": "efficientnetv2_rw_s",
    "efficientnet2_rw_t_ra2_imagenet": "efficientnetv2_rw_t",
    **{
        f"hgnetv2_{n}_in1k": f"hgnetv2_{n[:2]}" for n in ("b4_ssld_stage2_ft", "b5_ssld_stage2_ft", "b6_ssld_stage2_ft")
    },
    **{f"hgnetv2_{n}_ssld_stage1_in22k_in1k": f"hgnetv2_{n}" for n in ("b5", "b6")},
}

# Sides of images, in pixels, where neither the name nor the description of a preset says them.
SIZES: Mapping[str, int] = {
    "efficientnet_b2_ra_imagenet": 256,
    "efficientnet_b3_ra2_imagenet": 288,
    "efficientnet_b4_ra2_imagenet": 320,
    "efficientnet_b5_sw_imagenet": 448,
    "efficientnet_b5_sw_ft_imagenet": 448,
    "efficientnet_el_ra_imagenet": 300,
    "efficientnet_em_ra2_imagenet": 240,
    "efficientnet2_rw_m_agc_imagenet": 320,
    "efficientnet2_rw_s_ra2_imagenet": 288,
    "xception_41_imagenet": 299,
}


def architecture(preset: str, size: int) -> dict[str, Any]:
    """Return the `config.json` of a preset of KerasHub's for images of its own size; {} where it is not known here."""
    if preset in TIMM:
        tag = "ssld" if "ssld" in preset else ""
        known = {"input_size": [3, size, size], "mean": MEAN, "std": DEVIATION, "interpolation": "bilinear", "tag": tag}
        return {"architecture": TIMM[preset], "pretrained_cfg": known}
    family, _, rest = preset.partition("_")
    arguments = _FAMILIES.get(family, lambda *_: {})(rest, size)
    if not arguments:
        return {}
    name = _CLASSES[family]
    return {
        "module": "keras_hub.models",
        "class_name": name,
        "registered_name": f"keras_hub>{name}",
        "config": arguments,
    }


def _resnet_vd(rest: str, _: int) -> dict[str, Any]:
    blocks = {
        "vd_18": [2, 2, 2, 2],
        "vd_34": [3, 4, 6, 3],
        "vd_50": [3, 4, 6, 3],
        "vd_101": [3, 4, 23, 3],
        "vd_152": [3, 8, 36, 3],
        "vd_200": [3, 12, 48, 3],
    }.get("_".join(rest.split("_")[:2]))
    if blocks is None:
        return {}
    shallow = rest.startswith(("vd_18_", "vd_34_"))
    return {
        "input_conv_filters": [32, 32, 64],
        "input_conv_kernel_sizes": [3, 3, 3],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": blocks,
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "basic_block_vd" if shallow else "bottleneck_block_vd",
    }


def _mit(rest: str, size: int) -> dict[str, Any]:
    depths = {
        "b0": [2, 2, 2, 2],
        "b1": [2, 2, 2, 2],
        "b2": [3, 4, 6, 3],
        "b3": [3, 4, 18, 3],
        "b4": [3, 8, 27, 3],
        "b5": [3, 6, 40, 3],
    }[rest[:2]]
    return {
        "image_shape": [size, size, 3],
        "layerwise_depths": depths,
        "num_layers": 4,
        "layerwise_num_heads": [1, 2, 5, 8],
        "layerwise_sr_ratios": [8, 4, 2, 1],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3, 3, 3],
        "layerwise_strides": [4, 2, 2, 2],
        "hidden_dims": [32, 64, 160, 256] if rest.startswith("b0") else [64, 128, 320, 512],
    }


def _vit(rest: str, size: int) -> dict[str, Any]:
    wide, patch = rest.split("_")[:2]
    layers, heads, width = {"base": (12, 12, 768), "large": (24, 16, 1024), "huge": (32, 16, 1280)}[wide]
    return {
        "image_shape": [size, size, 3],
        "patch_size": int(patch.removeprefix("patch")),
        "num_layers": layers,
        "num_heads": heads,
        "hidden_dim": width,
        "mlp_dim": 4 * width,
    }


def _deit(rest: str, size: int) -> dict[str, Any]:
    heads, width = {"tiny": (3, 192), "small": (6, 384), "base": (12, 768)}[rest.split("_")[0]]
    return {
        "image_shape": [size, size, 3],
        "patch_size": 16,
        "num_layers": 12,
        "num_heads": heads,
        "hidden_dim": width,
        "intermediate_dim": 4 * width,
    }


def _dinov2(rest: str, size: int) -> dict[str, Any]:
    layers, heads, width = {
        "small": (12, 6, 384),
        "base": (12, 12, 768),
        "large": (24, 16, 1024),
        "giant": (40, 24, 1536),
    }[rest.rpartition("_")[2]]
    return {
        "patch_size": 14,
        "num_layers": layers,
        "hidden_dim": width,
        "num_heads": heads,
        "intermediate_dim": 4 * width,
        "num_register_tokens": 4 if "registers" in rest else 0,
        "use_swiglu_ffn": rest.endswith("giant"),
        "image_shape": [size, size, 3],
        "position_embedding_shape": [518, 518, 3],
    }


def _xception(_: str, __: int) -> dict[str, Any]:
    return {
        "stackwise_conv_filters": [
            *([32, 64], [128, 128], [256, 256], [728, 728]),
            *[[728, 728, 728]] * 8,
            *([728, 1024], [1536, 2048]),
        ],
        "stackwise_pooling": [False, True, True, True, *[False] * 8, True, False],
    }


_FAMILIES = {
    "resnet": _resnet_vd,
    "mit": _mit,
    "vit": _vit,
    "deit": _deit,
    "dinov2": _dinov2,
    "xception": _xception,
}
_CLASSES = {
    "resnet": "ResNetBackbone",
    "mit": "MiTBackbone",
    "vit": "ViTBackbone",
    "deit": "DeiTBackbone",
    "dinov2": "DINOV2Backbone",
    "xception": "XceptionBackbone",
}
