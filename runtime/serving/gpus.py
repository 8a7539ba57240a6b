"""The GPU that workers run on, read by NVML: the extra `gpu`, imported only where models run on one."""

from __future__ import annotations

import logging
import os
from typing import Any

log = logging.getLogger(__name__)


class NvmlGpu:
    """One GPU of this machine. Its figures are of the whole GPU, whoever uses it.

    Args:
        nvml: the module `pynvml`, initialised.
        handle: of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def busy(self) -> float:
        """The share of NVML's last sample period (up to a second) in which a kernel ran."""
        return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100

    def memory_bytes(self) -> tuple[float, float]:
        """Held, and in all."""
        memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        return float(memory.used), float(memory.total)


def find(device: str) -> NvmlGpu | None:
    """The GPU that torch calls so (``cuda``, ``cuda:1``); None where it is none, or cannot be read: the log says why."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        log.warning("what the GPU does is not measured: install the extra `gpu` (nvidia-ml-py)")
        return None
    try:
        pynvml.nvmlInit()
        return NvmlGpu(pynvml, _handle(pynvml, int(index or 0), os.environ.get("CUDA_VISIBLE_DEVICES")))
    except pynvml.NVMLError as error:
        log.warning("what the GPU does is not measured: NVML says: %s", error)
        return None


def _handle(nvml: Any, index: int, visible: str | None) -> Any:
    """Of the index-th GPU that this process may use. With GPUs of several types, set CUDA_DEVICE_ORDER=PCI_BUS_ID."""
    shown = str(index) if visible is None else visible.split(",")[index].strip()
    return nvml.nvmlDeviceGetHandleByIndex(int(shown)) if shown.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(shown)
