"""What goes through a world arrives: whole, in order, under its tag; and what must not go is refused before it does."""

import asyncio
import itertools
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import world_of

from runtime.worlds import AsyncWorld, Reduction, TensorMismatch, WorldError
from runtime.worlds.frames import ALIGN, DTYPES, Buffers, lay_out, read_layout, unpack


def exchange_plain(manager):
    world = world_of(manager)
    if world.rank == 0:
        for number in range(50):
            world.send(torch.full((3, 5), float(number), device=world.device), 1)
        return world.recv(torch.empty(7, dtype=torch.int64, device=world.device), 1, tag=9).tolist()
    got = [world.recv(torch.empty(3, 5, device=world.device), 0).unique().item() for _ in range(50)]
    world.send(torch.arange(7, device=world.device), 0, tag=9)
    return got


def test_tensors_arrive_in_order(team):
    members = team.grow(2)
    team.world("w", members)
    assert team.play(members, exchange_plain) == [list(range(7)), [float(number) for number in range(50)]]


def cross_tags(manager):
    """Both sides send on several tags at once, each from a thread of its own."""
    from concurrent.futures import ThreadPoolExecutor

    world = world_of(manager)
    other = 1 - world.rank

    def send(tag):
        for number in range(20):
            world.send(torch.tensor([float(tag * 100 + number)], device=world.device), other, tag)

    def recv(tag):
        return [world.recv(torch.empty(1, device=world.device), other, tag).item() for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        sends, recvs = [threads.submit(send, tag) for tag in range(4)], [threads.submit(recv, tag) for tag in range(4)]
        [sent.result() for sent in sends]
        return [received.result() for received in recvs]


def test_tags_do_not_mix_whatever_their_order(team):
    members = team.grow(2)
    team.world("w", members)
    expected = [[float(tag * 100 + number) for number in range(20)] for tag in range(4)]
    assert team.play(members, cross_tags) == [expected, expected]


def start_then_wait(manager):
    """Both sides start sends and receives on several tags, and only then wait for any."""
    world = world_of(manager)
    other = 1 - world.rank
    into = [torch.empty(1000, device=world.device) for _ in range(5)]
    started = [world.irecv(tensor, other, tag) for tag, tensor in enumerate(into)]
    started += [world.isend(torch.full((1000,), float(tag), device=world.device), other, tag) for tag in range(5)]
    for transfer in started:
        transfer.wait()
    return [tensor.unique().tolist() for tensor in into]


def test_transfers_are_started_and_waited_for(team):
    members = team.grow(2)
    team.world("w", members)
    assert team.play(members, start_then_wait) == [[[float(tag)] for tag in range(5)]] * 2


MUCH = 2_500_000  # float32: 10 MB, more than a connection holds


def exchange_much(manager, wait_first):
    """Both sides start to send, and receive only then; `wait_first` is waited for before the other."""
    world = world_of(manager)
    other, mine = 1 - world.rank, torch.full((MUCH,), 1.0 + world.rank, device=world.device)
    into = torch.empty(MUCH, device=world.device)
    transfers = {"recv": world.irecv(into, other), "send": world.isend(mine, other)}
    transfers.pop(wait_first).wait()
    transfers.popitem()[1].wait()
    return into.min().item(), into.max().item()


@pytest.mark.parametrize("wait_first", ["send", "recv"])
def test_what_is_started_goes_on_while_its_starter_waits_for_another(team, wait_first):
    members = team.grow(2)
    team.world("w", members)
    assert team.play(members, exchange_much, wait_first) == [(2.0, 2.0), (1.0, 1.0)]


def meet_in_between(manager):
    """Much is under way while all members wait for something that is none of its business."""
    world = world_of(manager)
    world.barrier()
    tensor = torch.full((MUCH,), 1.0 + world.rank, device=world.device)
    if world.rank == 0:
        started = world.isend(tensor, 1)
        world.barrier()
        started.wait()
        return None
    world.recv(tensor, 0)
    world.barrier()
    return tensor.min().item(), tensor.max().item()


def test_what_is_started_goes_on_by_itself(team):
    members = team.grow(2)
    team.world("w", members)
    assert team.play(members, meet_in_between) == [None, (1.0, 1.0)]


def around(manager, left, right):
    """Pass much to the right in one world, and receive it from the left in another."""
    giving, taking = world_of(manager, right), world_of(manager, left)
    mine = torch.full((MUCH,), 10.0 * giving.rank + taking.rank, device=giving.device)
    into = torch.empty_like(mine)
    received = taking.irecv(into, 1 - taking.rank)
    giving.isend(mine, 1 - giving.rank).wait()
    received.wait()
    return bool((into == into[0]).all())


def test_a_ring_of_worlds_of_two_does_not_lock_up(processes):
    members = processes.grow(3)
    names = ["ab", "bc", "ca"]
    for number, name in enumerate(names):
        processes.world(name, [members[number], members[(number + 1) % 3]])
    for number, member in enumerate(members):
        member.start(around, names[number - 1], names[number])
    assert [member.result() for member in members] == [True] * 3


def move_some(manager):
    """Forms at the borders: no element, one byte, no dimension, other dtypes."""
    world, device = world_of(manager), world_of(manager).device
    forms = [torch.empty(0, 3), torch.tensor([7], dtype=torch.uint8), torch.tensor(2.5), torch.ones(5, dtype=torch.bfloat16)]
    forms += [torch.tensor([1 + 2j, 3j]), torch.tensor([True, False])]
    for tag, tensor in enumerate(forms):
        if world.rank == 0:
            world.send(tensor.to(device), 1, tag)
        else:
            assert torch.equal(world.recv(torch.zeros_like(tensor, device=device), 0, tag).cpu(), tensor)
    return world.received_from(0) if world.rank else world.sent_to(1)


def test_tensors_of_any_form_arrive(team):
    members = team.grow(2)
    team.world("w", members)
    assert team.play(members, move_some) == [6, 6]


def some_messages():
    """Messages of many forms, the same form twice and more in a row, and sizes at the borders of a head."""
    random = torch.Generator().manual_seed(1)
    sizes = [0, 1, 7, 8, 100, 16_350, 16_370, 16_380, 16_384, 16_400, 100_000, 700_000]

    def some(size):
        return torch.randn(size, generator=random)

    single = [[some(size)] for size in sizes for _ in range(3)]
    mixed = [[torch.arange(6).view(2, 3), some(size).bfloat16(), torch.tensor(True), torch.empty(0, 4)] for size in sizes]
    large_and_small = [[some(size)] for pair in itertools.permutations([100_000, 10, 16_400], 2) for size in pair]
    two_large = [[some(50_000), some(60_000)]] * 3
    return [*single, *mixed, *large_and_small, *two_large, [], [some(4)], []]


def send_messages(manager):
    world = world_of(manager)
    for message in some_messages():
        world.send_message([tensor.to(world.device) for tensor in message], 1)


def recv_messages(manager):
    world, kept = world_of(manager), []
    for _ in some_messages():
        kept.append(world.recv_message(0))  # kept: nobody may write to them later
    for expected, got in zip(some_messages(), kept):
        assert [tensor.dtype for tensor in got] == [tensor.dtype for tensor in expected]
        assert all(torch.equal(theirs.cpu(), ours) for theirs, ours in zip(got, expected))
        assert all(tensor.device == world.device for tensor in got)
    return len(kept)


def test_messages_arrive_whole_whatever_their_form(team):
    members = team.grow(2)
    team.world("w", members)
    members[0].start(send_messages)
    members[1].start(recv_messages)
    members[0].result()
    assert members[1].result() == len(some_messages())


FORMS = st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 50), max_size=4).map(tuple)), max_size=8)


@given(FORMS.map(tuple))
def test_a_layout_is_read_back_and_its_tensors_do_not_overlap(forms):
    layout = lay_out(forms)
    assert read_layout(layout.description) is layout
    assert [(place.dtype, place.shape) for place in layout.places] == list(forms)
    ends = [0, *(place.offset + place.nbytes for place in layout.places)]
    assert all(place.offset % ALIGN == 0 and place.offset >= end for place, end in zip(layout.places, ends))
    assert layout.body_bytes == ends[-1]


@pytest.mark.parametrize("shape", [(0, 1 << 63), (0, 1 << 62, 1 << 62), (1 << 63, 0), (1 << 16, 1 << 16, 0)])
def test_sizes_that_no_tensor_has_are_refused_at_both_ends(shape):
    """Beside a 0 they need no room, and so are within any bound of bytes."""
    with pytest.raises(TensorMismatch, match="cannot hold a tensor of shape"):
        lay_out(((torch.uint8, shape),))
    description = struct.pack(f"<BB{len(shape)}Q", DTYPES.index(torch.uint8), len(shape), *shape)
    with pytest.raises(RuntimeError, match="what arrived is no message"):
        read_layout(description)


def all_collectives(manager):
    world = world_of(manager)
    mine = torch.tensor([1.0 + world.rank, 10.0 * (world.rank + 1)], device=world.device)
    got = {
        "broadcast": world.broadcast(mine.clone(), 2),
        "sum": world.all_reduce(mine.clone()),
        "product": world.all_reduce(mine.clone(), Reduction.PRODUCT),
        "min": world.all_reduce(mine.clone(), Reduction.MIN),
        "max": world.all_reduce(mine.clone(), Reduction.MAX),
        "reduce": world.reduce(mine.clone(), 1),
        "gather": world.gather(mine, 1),
        "all_gather": world.all_gather(mine),
        "scatter": world.scatter(torch.empty_like(mine), 0, [mine * part for part in range(3)] if world.rank == 0 else None),
    }
    world.barrier()
    return {name: _numbers(value) for name, value in got.items()}


def _numbers(value):
    if isinstance(value, list):
        return [tensor.tolist() for tensor in value]
    return None if value is None else value.tolist()


def test_collectives_of_three(team):
    members = team.grow(3)
    team.world("w", members)
    everybody = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    for rank, got in enumerate(team.play(members, all_collectives)):
        assert got["broadcast"] == everybody[2]
        assert got["sum"] == [6.0, 60.0]
        assert got["product"] == [6.0, 6000.0]
        assert (got["min"], got["max"]) == (everybody[0], everybody[2])
        assert got["reduce"] == [6.0, 60.0] or rank != 1
        assert got["gather"] == (everybody if rank == 1 else None)
        assert got["all_gather"] == everybody
        assert got["scatter"] == [1.0 * rank, 10.0 * rank]


def refused(operation):
    try:
        operation()
    except TensorMismatch as error:
        return str(error)
    raise AssertionError("it was not refused")


def send_wrong_ones(manager):
    world = world_of(manager)
    good = torch.ones(4, 4, device=world.device)
    world.send(good, 1)
    texts = [
        refused(lambda: world.send(torch.ones(17, device=world.device), 1)),
        refused(lambda: world.send(good.double(), 1)),
        refused(lambda: world.send(good.t(), 1)),
        refused(lambda: world.send(torch.ones(4, 4, device="meta"), 1)),
        refused(lambda: world.send(torch.ones(4, 4).to_sparse().to(world.device), 1)),
        refused(lambda: world.send_message([torch.ones(4, dtype=torch.complex64, device=world.device).conj()], 1)),
        refused(lambda: world.send_message([good, good.t()], 1)),
        refused(lambda: world.send_message([good] * 257, 1)),
        refused(lambda: world.send_message([torch.empty((1 << 31) + 1, dtype=torch.uint8, device=world.device)], 1)),
        refused(lambda: world.scatter(torch.empty(1, device=world.device), 0, [torch.empty(2, device=world.device)] * 2)),
    ]
    for bad in (lambda: world.send(good, 0), lambda: world.send(good, 2), lambda: world.send(good, 1, -1)):
        with pytest.raises(ValueError, match=r"no other member|outside"):
            bad()
    world.send(good * 2, 1)
    return texts


def recv_two(manager):
    world = world_of(manager)
    into = torch.empty(4, 4, device=world.device)
    first = world.recv(into, 0).sum().item()
    text = refused(lambda: world.recv(torch.empty(15, device=world.device), 0))
    return first, world.recv(into, 0).sum().item(), text


def test_what_would_not_fit_is_refused_at_the_sender_and_nobody_is_harmed(team):
    members = team.grow(2)
    team.world("w", members)
    members[0].start(send_wrong_ones)
    members[1].start(recv_two)
    oversize, dtype, strided, device, sparse, sign, in_message, many, huge, part = members[0].result()
    first, second, other_size = members[1].result()
    assert (first, second) == (16.0, 32.0)
    assert oversize.startswith(
        "the tensor holds 17 x float32, what goes to or comes from rank 1 under this tag is 16 x float32"
    )
    assert "16 x float64, what goes to or comes from rank 1 under this tag is 16 x float32" in dtype
    assert "not contiguous" in strided and "not contiguous" in in_message
    assert "on meta" in device and ".to_dense()" in sparse and ".resolve_conj()" in sign
    assert "257 tensors" in many and "split it" in huge
    assert "2 x float32, every member receives 1 x float32" in part
    assert "15 x float32, what goes to or comes from rank 0 under this tag is 16 x float32" in other_size


def disagree(manager):
    world = world_of(manager)
    text = refused(lambda: world.all_reduce(torch.ones(5 + world.rank, device=world.device)))
    return text, world.all_reduce(torch.ones(2, device=world.device)).tolist()


def test_members_that_do_not_agree_on_a_collective_all_hear_so_and_go_on(team):
    members = team.grow(3)
    team.world("w", members)
    for text, after in team.play(members, disagree):
        assert "rank 0: all_reduce sum of 5 x float32; rank 1: all_reduce sum of 6 x float32" in text
        assert after == [3.0, 3.0]


def fall_out(manager):
    """Rank 1 repeats what all have done, the others start something new: too late to stop rank 1, so the world breaks."""
    world = world_of(manager)
    try:
        world.all_reduce(torch.ones(3, device=world.device))  # who is slow to come out of this one hears it here
        world.all_reduce(torch.ones(3 if world.rank == 1 else 99, device=world.device))
    except WorldError as error:
        return str(error)
    return "it went through"


def test_members_that_fall_out_of_step_neither_hang_nor_crash(team):
    members = team.grow(3)
    team.world("w", members)
    for text in team.play(members, fall_out):
        assert "all_reduce sum of 3 x float32" in text and "all_reduce sum of 99 x float32" in text


def converse(manager, count):
    """Both ways at once, and one receive that is given up on the way."""

    async def talk():
        world = AsyncWorld(world_of(manager))
        other = 1 - world.world.rank

        async def send():
            for number in range(count):
                await world.send_message([torch.tensor([number, world.world.rank], device=world.world.device)], other)

        async def recv():
            got = []
            while len(got) < count:
                try:
                    (message,) = await asyncio.wait_for(world.recv_message(other), 0.001 if len(got) % 3 else 30)
                except TimeoutError:
                    continue
                got.append(message.tolist())
            return got

        _, got = await asyncio.gather(send(), recv())
        total = await world.all_reduce(torch.ones(1, device=world.world.device))
        return got, total.item()

    return asyncio.run(talk())


def test_asyncio_talks_both_ways_and_a_cancelled_receive_loses_no_message(team):
    members = team.grow(2)
    team.world("w", members)
    for rank, (got, total) in enumerate(team.play(members, converse, 60)):
        assert got == [[number, 1 - rank] for number in range(60)]
        assert total == 2.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)  # seen by way of numpy, and by torch alone
def test_memory_of_a_message_is_not_used_again_while_somebody_has_a_tensor_of_it(dtype):
    buffers, layout = Buffers(), lay_out(((dtype, (4,)), (dtype, (2, 8))))
    buffer = buffers.take(layout.body_bytes)
    tensors = unpack(buffer.memory, layout)
    row = tensors.pop()[1:]
    assert not buffer.unused and buffers.take(layout.body_bytes) is not buffer
    del tensors
    assert not buffer.unused
    del row
    assert buffer.unused
