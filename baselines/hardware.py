"""Devices and links by name, and what work and communication take on them.

A device is a roofline (Williams et al., 2009): an operator takes as long as its arithmetic or its memory traffic, whichever
is longer. Two constants say how far a device is from that: how long it takes to start an operator, and the least for one
attention head. Collectives are rings (2 (n - 1) / n of the bytes for a sum over n devices) at a rate that was measured for
groups of that size.

`v100` and `rtx3090` are fitted to a few rows that AlpaServe's artefact and a re-profile recorded, `cpu` (a core) to one
ResNet; the others are data sheets with constants of `v100`. `python evaluate.py --reproduce performance-model` shows which
rows, and how far off the others are.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from baselines.operators import Operator

GB = 1e9


@dataclass(frozen=True)
class Device:
    """One type of device.

    Attributes:
        name: of the type.
        peak_flops, peak_bytes: per second, of the data sheet; 16-bit matrix units where there are some.
        memory_bytes: of one device.
        compute_efficiency, memory_efficiency: shares of the peaks that long operators reach.
        launch_s: to start one operator.
        head_s: least time for one attention head.
        score_bytes: memory traffic for one attention score; near 0 where attention is one fused kernel.
        element_bytes: of one number.
        source: where the numbers come from.
    """

    name: str
    peak_flops: float
    peak_bytes: float
    memory_bytes: float
    compute_efficiency: float
    memory_efficiency: float
    launch_s: float
    head_s: float
    score_bytes: float
    source: str
    element_bytes: int = 2

    def operator_s(self, operator: Operator, batch: int, share: float = 1.0) -> float:
        """Seconds of one operator, of which this device does a share."""
        read = 0.0 if operator.kind == "lookup" else operator.weight_bytes
        compute_s = batch * operator.flops / (self.peak_flops * self.compute_efficiency)
        moved = operator.moved_bytes + operator.scores * self.score_bytes
        memory_s = (batch * moved + read) / (self.peak_bytes * self.memory_efficiency)
        return self.launch_s + share * max(compute_s, memory_s, operator.heads * self.head_s)


@dataclass(frozen=True)
class Link:
    """What joins devices.

    Attributes:
        name: of the link.
        bytes_per_s: what one device sends in a ring, by the number of devices in it; the next smaller number counts.
        latency_s: of one message.
        source: where the numbers come from.
    """

    name: str
    bytes_per_s: Mapping[int, float]
    latency_s: float
    source: str

    def send_s(self, size: float) -> float:
        """One device to the next."""
        return self.latency_s + size / self._rate(2)

    def all_reduce_s(self, size: float, ranks: int) -> float:
        """Partial sums of this size on each rank become the whole sum on each."""
        return self._ring_s(size, ranks, 2 * (ranks - 1))

    def all_gather_s(self, size: float, ranks: int) -> float:
        """Parts on each rank become the whole, of this size, on each."""
        return self._ring_s(size, ranks, ranks - 1)

    def reduce_scatter_s(self, size: float, ranks: int) -> float:
        """Partial sums of this size on each rank become each rank's part of the sum."""
        return self._ring_s(size, ranks, ranks - 1)

    def _ring_s(self, size: float, ranks: int, steps: int) -> float:
        """One message to begin, then a part to the next device in each step."""
        return self.latency_s + steps * (self.latency_s + size / ranks / self._rate(ranks)) if ranks > 1 else 0.0

    def _rate(self, ranks: int) -> float:
        return self.bytes_per_s[max(n for n in self.bytes_per_s if n <= max(ranks, 2))]


@dataclass(frozen=True)
class Machine:
    """Equal devices in equal nodes.

    Attributes:
        device: their type.
        link: between devices of one node.
        network: between nodes.
        node_devices: in one node.
    """

    device: Device
    link: Link
    network: Link
    node_devices: int = 8


NVLINK_V100 = Link("nvlink-v100", {2: 19.9 * GB, 4: 70.4 * GB, 8: 104.8 * GB}, 10e-6, "fitted")
PCIE_3090 = Link("pcie-3090", {2: 4.15 * GB, 4: 5.12 * GB}, 10e-6, "fitted")
NVLINK_A100 = Link("nvlink-a100", {2: 210 * GB}, 10e-6, "data sheet: 300 GB/s each way, at 0.7")
NVLINK_H100 = Link("nvlink-h100", {2: 315 * GB}, 10e-6, "data sheet: 450 GB/s each way, at 0.7")
PCIE_T4 = Link("pcie-t4", {2: 8 * GB}, 20e-6, "data sheet: 16 GB/s each way, at 0.5")
MEMORY = Link("memory", {2: 10 * GB}, 10e-6, "assumed: between processes of one machine")


def ethernet(gigabits: float) -> Link:
    """Between nodes, at its full rate."""
    return Link(f"ethernet-{gigabits:g}", {2: gigabits * GB / 8}, 30e-6, "data sheet")


_SHEET = "data sheet, with the efficiency and the launches of v100, attention as one kernel"
V100 = Device("v100", 125e12, 900 * GB, 16 * GB, 0.808, 1.0, 40e-6, 71.3e-6, 22.95, "fitted")
RTX_3090 = Device("rtx3090", 142e12, 936 * GB, 24 * GB, 1.072, 1.0, 40e-6, 0.0, 6.48, "fitted")
T4 = Device("t4", 65e12, 320 * GB, 16 * GB, 0.808, 1.0, 40e-6, 0.0, 0.0, _SHEET)
A100 = Device("a100", 312e12, 1555 * GB, 40 * GB, 0.808, 1.0, 40e-6, 0.0, 0.0, _SHEET)
H100 = Device("h100", 989e12, 3350 * GB, 80 * GB, 0.808, 1.0, 40e-6, 0.0, 0.0, _SHEET)
CPU_CORE = Device("cpu", 100e9, 20 * GB, 16 * GB, 0.849, 1.0, 0.0, 0.0, 8.0, "fitted", element_bytes=4)

MACHINES = {machine.device.name: machine for machine in (
    Machine(V100, NVLINK_V100, ethernet(25)),  # p3.16xlarge
    Machine(RTX_3090, PCIE_3090, ethernet(10), 4),
    Machine(T4, PCIE_T4, ethernet(50), 4),
    Machine(A100, NVLINK_A100, ethernet(400)),  # p4d.24xlarge
    Machine(H100, NVLINK_H100, ethernet(3200)),  # p5.48xlarge
    Machine(CPU_CORE, MEMORY, ethernet(10), 1),
)}


def machine(name: str) -> Machine:
    """A machine by the name of its devices.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in MACHINES:
        near = difflib.get_close_matches(name, MACHINES, 1)
        raise ValueError(f"no device '{name}'{f', did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(MACHINES)}")
    return MACHINES[name]
