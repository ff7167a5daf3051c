"""What do the installed packages hold that an image has no need of? `trim.py serving` or `trim.py steps` removes it."""

import shutil
import sys
import sysconfig
from pathlib import Path

# OpenVINO's other devices, readers of other formats and C interface: a stored network is read by the IR reader and
# runs on the CPU plugin.
SERVING = (
    "openvino/cmake",
    "openvino/include",
    "openvino/tools",
    "openvino/torch",
    "openvino/frontend/*/",
    "openvino/libs/cache.json",
    "openvino/libs/tbb.pc",
    "openvino/libs/libopenvino_auto*_plugin.so",
    "openvino/libs/libopenvino_c.so.*",
    "openvino/libs/libopenvino_hetero_plugin.so",
    "openvino/libs/libopenvino_intel_gpu_plugin.so",
    "openvino/libs/libopenvino_intel_npu_plugin.so",
    "openvino/libs/libopenvino_gguf_frontend.so.*",
    "openvino/libs/libopenvino_jax_frontend.so.*",
    "openvino/libs/libopenvino_onnx_frontend.so.*",
    "openvino/libs/libopenvino_paddle_frontend.so.*",
    "openvino/libs/libopenvino_pytorch_frontend.so.*",
    "openvino/libs/libopenvino_tensorflow*_frontend.so.*",
    # What Amazon's other services look like: only S3 is spoken to.
    "botocore/data/[a-rt-z]*/",
    "botocore/data/s[!3]*/",
    "botocore/data/s3?*/",
    "numpy/**/tests",
    "numpy/f2py",
    "openvino_telemetry",
    "pydicom/data/test_files",
    "tornado/test",
    "**/*.pyi",
)
# For compiling against TensorFlow, web pages, other devices of OpenVINO, services of Arrow, the packages' own tests.
STEPS = (
    "tensorflow/include",
    "clang",
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/_flight*",
    "pyarrow/libarrow_flight*",
    "pyarrow/libarrow_python_flight*",
    "openvino/cmake",
    "openvino/include",
    "openvino/libs/cache.json",
    "openvino/libs/libopenvino_intel_gpu_plugin.so",
    "openvino/libs/libopenvino_intel_npu_plugin.so",
    "mlflow/server/js",
    "zenml/zen_server/dashboard",
    "kubernetes/aio",
    "pydicom/data/test_files",
    "matplotlib/tests",
    "numpy/**/tests",
    "pandas/tests",
    "pyarrow/tests",
    "scipy/**/tests",
    "sklearn/**/tests",
)
PATTERNS = {"serving": SERVING, "steps": STEPS}


def main(image: str) -> None:
    """Remove them from this interpreter's packages; what a platform's packages lack is nothing to remove."""
    for path in unneeded(Path(sysconfig.get_path("purelib")), PATTERNS[image]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # gone with its folder


def unneeded(packages: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files and folders to remove."""
    return [path for pattern in patterns for path in packages.glob(pattern)]


if __name__ == "__main__":
    main(sys.argv[1])
