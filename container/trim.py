"""What do the installed packages hold that answering never touches? Removed while the image is built."""

import shutil
import sysconfig
from pathlib import Path

# OpenVINO's other devices, readers of other formats and C interface: a stored network is read by the IR reader and
# runs on the CPU plugin.
PATTERNS = (
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
