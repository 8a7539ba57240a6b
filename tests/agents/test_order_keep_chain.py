"""The expected reward of a soft band: its gradient is the slope, its value is what playing earns, its limit is the rule."""

import numpy as np
import pytest
import torch

from agents.order_keep_chain import Band, Chain, Prices, expected_reward
from agents.order_keep_features import Question
from agents.order_keep_menu import Menu
from agents.order_keep_response import Response
from agents.order_keep_rules import Course, Levels, play

M, H, DECISIONS = 5, 2, 7


def tiny(seed, load_intervals):
    rng = np.random.default_rng(seed)
    wait = max(1, int(np.ceil(load_intervals)))
    units = rng.uniform(1, 5, M)
    union = units[:, None] + units * (1 - np.eye(M))
    chain = Chain(torch.tensor(np.sort(rng.normal(size=M))), torch.tensor([0, 1, 0, 1, 0]), torch.tensor(units / 10),
                  torch.tensor(union / 10))
    order, gap, liking = rng.normal(size=(3, 2, DECISIONS, H))
    band = [torch.tensor(part) for part in (order, order + np.abs(gap), liking)]
    value = torch.tensor(rng.normal(size=(2, DECISIONS + 2 * wait, M)))
    prices = Prices(torch.tensor([0.3, 0.05]), torch.tensor([0.1, 0.02]))
    start = torch.tensor(rng.dirichlet(np.ones(M), 2))
    return chain, band, value, prices, start


def earned(chain, parts, value, prices, start, load_intervals, tau):
    band = Band(parts[0], parts[1], parts[2].softmax(-1))
    return expected_reward(chain, band, value, prices, start, load_intervals, tau)


@pytest.mark.parametrize("load_intervals", [0.25, 1.0, 2.5])
def test_the_gradient_is_that_of_finite_differences(load_intervals):
    chain, parts, value, prices, start = tiny(1, load_intervals)
    parts = [part.requires_grad_() for part in parts]
    earned(chain, parts, value, prices, start, load_intervals, 0.5).sum().backward()
    step = 1e-6
    for part in parts:
        for place in np.ndindex(*part.shape):
            with torch.no_grad():
                ends = []
                for sign in (1, -1):
                    part[place] += sign * step
                    ends.append(float(earned(chain, parts, value, prices, start, load_intervals, 0.5).sum()))
                    part[place] -= sign * step
            assert float(part.grad[place]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("load_intervals", [0.25, 2.0, 2.5])
def test_the_value_is_the_mean_of_played_episodes(load_intervals):
    chain, parts, value, prices, start = tiny(2, load_intervals)
    tau, wait, rng = 0.4, max(1, int(np.ceil(load_intervals))), np.random.default_rng(0)
    expected = earned(chain, parts, value, prices, start, load_intervals, tau).numpy()
    x, family, cost, union = (part.numpy() for part in chain)
    liking = parts[2].softmax(-1).numpy()
    b, episodes, totals = 1, 1500, []
    price, change = (float(part[b]) for part in prices)
    for _ in range(episodes):
        here, total, t = rng.choice(M, p=start[b].numpy()), 0.0, 0
        while t < value.shape[1]:
            low, high = (parts[k][b, min(t, DECISIONS - 1), family[here]].item() for k in (0, 1))
            up = t < DECISIONS and rng.random() < 1 / (1 + np.exp((x[here] - low) / tau))
            down = t < DECISIONS and not up and rng.random() < 1 / (1 + np.exp((high - x[here]) / tau))
            there = here
            if up or down:
                h = rng.choice(H, p=liking[b, t])
                level = parts[0 if up else 1][b, t, h].item()
                weight = np.where(family == h, np.exp(-np.abs(x - level) / tau), 0.0)
                there = rng.choice(M, p=weight / weight.sum())
            if there == here:
                total += float(value[b, t, here]) - price * cost[here]
                t += 1
                continue
            for j in range(wait):
                late = min(max(load_intervals - j, 0.0), 1.0)
                total += late * (float(value[b, t + j, here]) - price * union[here, there])
                total += (1 - late) * (float(value[b, t + j, there]) - price * cost[there])
            total -= change
            here, t = there, t + wait
        totals.append(total / value.shape[1])
    assert expected[b] == pytest.approx(np.mean(totals), abs=4 * np.std(totals) / np.sqrt(episodes))


@pytest.mark.parametrize("load_s", [6.0, 30.0, 75.0])
def test_without_softness_it_earns_what_the_rule_does(load_s):
    rng = np.random.default_rng(4)
    units = rng.integers(1, 6, M).astype(float)
    menu = Menu(np.arange(M)[:, None], np.sort(rng.normal(4, 0.5, M)), np.array([0, 1, 0, 1, 0]), units,
                units[:, None] + units * (1 - np.eye(M)), np.arange(1.0, M + 1))
    response = Response(np.geomspace(0.1, 3, 6), np.geomspace(0.3, 3, 6), 50 * np.arange(1.0, M + 1),
                        *rng.random((2, 6, 6, M)))
    wait = max(1, int(np.ceil(load_s / 30)))
    rps = rng.uniform(20, 150, (3, DECISIONS + 2 * wait + 1))
    order = rng.normal(4, 0.5, (3, rps.shape[1] - 1, H))
    levels = Levels(order, order + rng.random(order.shape), rng.normal(size=order.shape))
    levels.order[:, DECISIONS:], levels.keep[:, DECISIONS:] = -9.0, 9.0  # no decisions after the first ones
    course = Course(menu, Question(load_s, 0.05, 2.0), 0.01, 10.0, 30.0, np.full(3, 2))
    played = play(course, response, levels, rps)
    chain = Chain(*(torch.tensor(part) for part in (menu.log_rps, menu.family, units / 10, menu.union_units / 10)))
    band = Band(*(torch.tensor(part[:, :DECISIONS]) for part in levels[:2]),
                torch.nn.functional.one_hot(torch.tensor(levels.family[:, :DECISIONS].argmax(-1)), H).double())
    value = torch.tensor(response.earned(rps[:, :-1], rps[:, 1:], 1.0, 2.0))
    prices = Prices(torch.full((3,), 0.05, dtype=torch.float64), torch.full((3,), 0.01, dtype=torch.float64))
    start = torch.nn.functional.one_hot(torch.full((3,), 2), M).double()
    found = expected_reward(chain, band, value, prices, start, load_s / 30, 1e-5)
    np.testing.assert_allclose(found, played.mean(1), atol=1e-9)
