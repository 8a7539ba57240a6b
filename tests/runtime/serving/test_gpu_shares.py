"""Workers are spread over the GPUs of a machine."""

import pytest

from runtime.serving.gpu_shares import GpuShares


def test_each_worker_gets_the_gpu_with_the_fewest_the_first_of_them():
    gpus = GpuShares(3)
    assert gpus.take(2) == (0, 1)
    assert gpus.take(2) == (2, 0)
    gpus.give_back((0, 1))
    assert gpus.take(3) == (1, 0, 1)


def test_what_an_earlier_process_has_taken_stays_taken():
    gpus = GpuShares(2)
    gpus.hold((0, 0))
    assert gpus.take(2) == (1, 1)


def test_a_replica_larger_than_the_machine_shares():
    assert GpuShares(1).take(2) == (0, 0)


def test_a_machine_without_gpus_is_told():
    with pytest.raises(ValueError, match="device: cpu"):
        GpuShares(0)
