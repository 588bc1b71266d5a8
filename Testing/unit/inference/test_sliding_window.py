"""Windows: what is averaged and classified once is what one look at everything would give."""

import torch

from CrossModalSegLib.inference import sliding_window
from CrossModalSegLib.inference.model_input import ModelInput
from CrossModalSegLib.inference.sliding_window import Attempt, Windows, predict
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.preprocess import position_channels
from Testing.volumes import grid_around

CPU = Attempt(torch.device("cpu"), torch.device("cpu"), "on the CPU")
CLASSES = 3


def network(smooth: bool) -> CrossModalNetwork:
    torch.manual_seed(0)
    net = CrossModalNetwork(CLASSES, (4, 8), 2, share_convolutions=True, smooth_head=smooth).eval()
    with torch.no_grad():
        for head in net.heads:
            head.weight *= 5  # probabilities that differ
    return net


def given(*shape: int, within: torch.Tensor | None = None) -> ModelInput:
    volumes = torch.rand((2, 2, *shape), generator=torch.Generator().manual_seed(1))
    volumes[:, 1] = 1
    grid = grid_around((0, 0, 0), shape[::-1], (2.0, 2.0, 2.0))
    return ModelInput(volumes, torch.tensor([True, True]), grid, within)


def silent(*_what: object) -> None:
    pass


def test_one_window_over_everything_gives_the_softmax_of_the_network_s_logits():
    for smooth in (False, True):
        net, seen = network(smooth), given(16, 20, 24)
        found = predict(net, seen, Windows((16, 20, 24), CLASSES), CPU, silent)
        size = torch.tensor([16, 20, 24])
        position = position_channels(-(size - 1) / 2 * 2.0, (16, 20, 24), torch.full((3,), 2.0))
        with torch.no_grad():
            logits = net(seen.volumes[None], position[None], seen.presence[None])
        for slot in range(2):
            assert torch.allclose(found[slot].float(), logits[slot][0].softmax(0), atol=0.03)  # bfloat16 in between


def test_slabs_of_cells_show_no_seam(monkeypatch):
    net, seen = network(smooth=True), given(16, 16, 16)
    whole = predict(net, seen, Windows((16, 16, 16), CLASSES), CPU, silent)[0]
    monkeypatch.setattr(sliding_window, "SLAB_CELLS", 3)
    assert torch.allclose(predict(net, seen, Windows((16, 16, 16), CLASSES), CPU, silent)[0], whole, atol=1e-3)


def test_a_size_that_is_no_multiple_of_the_cell_is_padded_and_cut_again():
    found = predict(network(smooth=True), given(17, 19, 21), Windows((16, 16, 16), CLASSES), CPU, silent)
    for values in found.values():
        assert values.shape == (CLASSES, 17, 19, 21)
        assert torch.allclose(values.float().sum(0), torch.ones(17, 19, 21), atol=2e-3)


def test_windows_in_which_nothing_is_to_be_labelled_are_not_looked_at(monkeypatch):
    net = network(smooth=False)
    seen, run = [], net.features
    monkeypatch.setattr(net, "features", lambda *inputs: seen.append(1) or run(*inputs))
    within = torch.zeros(16, 16, 64, dtype=torch.bool)
    within[:, :, :4] = True
    found = predict(net, given(16, 16, 64, within=within), Windows((16, 16, 16), CLASSES), CPU, silent)[0]
    assert len(seen) == 1  # of the seven windows at 0, 8, 16 ... that which holds the first columns
    assert float(found[0, :, :, 16:].min()) == 1


def test_with_nothing_to_look_at_everything_is_background():
    within = torch.zeros(16, 16, 16, dtype=torch.bool)
    found = predict(network(smooth=True), given(16, 16, 16, within=within), Windows((16, 16, 16), CLASSES), CPU, silent)
    assert all(float(values[0].min()) == 1 and float(values[1:].max()) == 0 for values in found.values())


def windows_seen(monkeypatch, shape: tuple[int, ...]) -> list[list[bool]]:
    """For each call of the network, whether each window of the batch was mirrored: scans grow to the right."""
    net, scans = network(smooth=False), given(*shape)
    scans.volumes[:, 0] = torch.linspace(0, 1, shape[2])
    seen, run = [], net.features

    def features(window, *others):
        seen.append([bool(one[0, 0, 0, 0, 0] > one[0, 0, 0, 0, -1]) for one in window])
        return run(window, *others)

    monkeypatch.setattr(net, "features", features)
    predict(net, scans, Windows((16, 16, 16), CLASSES, mirrored=[0, 2, 1]), CPU, silent)
    return seen


def test_windows_that_overlap_along_every_axis_are_mirrored_in_turn(monkeypatch):
    seen = windows_seen(monkeypatch, (24, 24, 32))  # 2 x 2 x 3 windows, w first
    row, other = [[False], [True], [False]], [[True], [False], [True]]
    assert seen == [*row, *other, *other, *row]


def test_windows_without_neighbours_along_an_axis_are_seen_both_ways(monkeypatch):
    assert windows_seen(monkeypatch, (16, 24, 24)) == [[False, True]] * 4


def test_windows_mirrored_in_turn_give_what_windows_seen_both_ways_give():
    net, scans = network(smooth=True), given(24, 24, 28)
    ways = Windows((16, 16, 16), CLASSES, mirrored=[0, 2, 1])
    found = predict(net, scans, ways, CPU, silent)[0].float()
    straight = predict(net, scans, Windows((16, 16, 16), CLASSES), CPU, silent)[0].float()
    turned = ModelInput(scans.volumes.flip(-1), scans.presence, scans.grid, None)
    mirrored = predict(net, turned, Windows((16, 16, 16), CLASSES), CPU, silent)[0].flip(-1)[[0, 2, 1]].float()
    middle = (slice(None), *[slice(8, 16)] * 3)  # where windows of both kinds are
    off = ((straight + mirrored) / 2 - found)[middle].abs().mean()
    assert torch.allclose(found.sum(0), torch.ones(24, 24, 28), atol=2e-3)
    assert off < 0.5 * (straight - found)[middle].abs().mean()
    assert off < 0.5 * (mirrored - found)[middle].abs().mean()
    corner = (slice(None), *[slice(0, 6)] * 3)  # only the first window reaches it
    assert torch.allclose(found[corner], straight[corner], atol=2e-3)
