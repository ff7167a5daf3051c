"""What do all figures depend on?"""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Return what the figures depend on."""
    from importlib.metadata import version

    from diascope.engine import cpu_count

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in facts.items()}
    flags = values.get("flags", "").split()
    units = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "openvino", "zenml"))
    cpu = values.get("model name", platform.processor() or platform.machine())
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{cpu_count()} cores of {cpu} ({' '.join(units)}), {load}\n{versions}"
