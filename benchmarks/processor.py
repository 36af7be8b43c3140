"""The processor that figures were measured on: kernels are chosen by its flags."""

import platform
import re
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def describe_processor() -> str:
    """Return the processor's name, and which of the flags that matter it has, and has not."""
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else ""
    name = re.search(r"model name\s*: (.+)", text)
    has = [flag for flag in FLAGS if re.search(rf"\b{flag}\b", text)]
    lacks = [flag for flag in FLAGS if flag not in has]
    words = f"with {', '.join(has) or 'none of the flags'}"
    return f"{name[1] if name else platform.processor()} {words}; without {', '.join(lacks) or '-'}"
