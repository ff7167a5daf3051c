"""What do the installed packages hold that no step touches? Removed while the image is built."""

import shutil
import sysconfig
from pathlib import Path

# For compiling against TensorFlow, web pages, other devices of OpenVINO, services of Arrow, the packages' own tests.
PATTERNS = (
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


def main() -> None:
    """Remove them from this interpreter's packages; what a platform's packages lack is nothing to remove."""
    for path in unneeded(Path(sysconfig.get_path("purelib"))):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # gone with its folder


def unneeded(packages: Path) -> list[Path]:
    """Return the files and folders to remove."""
    return [path for pattern in PATTERNS for path in packages.glob(pattern)]


if __name__ == "__main__":
    main()
