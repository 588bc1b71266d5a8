"""The network: what it promises about shapes, about absent modalities, about the batch, and about MIA."""

import math
from itertools import product

import pytest
import torch

from CrossModalSegLib.losses import channel_affinity_consistency, channel_semantic_consistency
from CrossModalSegLib.network import (
    INPUT_CHANNELS,
    CrossModalNetwork,
    GatedSkip,
    ModalityIndependentAwareness,
    ModalityNorm,
    ResidualBlock,
)
from CrossModalSegLib.training.cell_subset import CellSubset

CLASSES = 3
BOTH = (True, True)
FIRST_ALONE = (True, False)
SECOND_ALONE = (False, True)


def network(fusion: str = "gated", share: bool = False, stem: int = 1, channels=(4, 6, 8), seed: int = 0, smooth=False):
    """A small network whose MIA and norms are no longer at the values they start with."""
    torch.manual_seed(seed)
    net = CrossModalNetwork(CLASSES, channels, stem, fusion, share, smooth)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "awareness" in name or "norm" in name:
                parameter.add_(0.3 * torch.rand_like(parameter))
    return net


def inputs(*presences: tuple[bool, bool], seed: int = 0, size: int = 16):
    """(volumes, position, presence) of a batch with one sample for each of ``presences``."""
    torch.manual_seed(seed)
    batch = len(presences)
    volumes = torch.rand(batch, 2, 2, size, size, size)
    position = torch.randn(batch, 3, size, size, size)
    return volumes, position, torch.tensor(presences)


def one(batch, sample: int):
    """The batch that holds one sample of ``batch`` alone."""
    return tuple(tensor[sample : sample + 1] for tensor in batch)


FUSIONS = ("bottleneck", "gated", "gated-all")
OPTIONS = list(product(FUSIONS, (False, True), (1, 2)))
FUSION_AND_SHARING = list(product(FUSIONS, (False, True)))


@pytest.mark.parametrize(("fusion", "share", "stem"), OPTIONS)
def test_every_option_gives_one_logit_map_per_modality_on_the_input_grid(fusion, share, stem):
    net = network(fusion, share, stem)
    batch = inputs(BOTH, BOTH)
    assert net.stride == 4 * stem
    for logits in net(*batch):
        assert logits.shape == (2, CLASSES, 16, 16, 16)
        assert logits.isfinite().all()
    for features in net.features(*batch):
        assert features.shape == (2, 4, 16 // stem, 16 // stem, 16 // stem)


def test_sizes_may_differ_along_the_axes_and_stay_in_order():
    net = network(stem=2, channels=(4, 6))
    logits = net(torch.rand(1, 2, 2, 8, 12, 16), torch.zeros(1, 3, 8, 12, 16), torch.tensor([BOTH]))
    assert [tuple(output.shape) for output in logits] == [(1, CLASSES, 8, 12, 16)] * 2


def test_a_size_that_is_no_multiple_of_the_stride_is_an_error():
    with pytest.raises(RuntimeError):
        network(channels=(4, 6))(torch.rand(1, 2, 2, 9, 8, 8), torch.zeros(1, 3, 9, 8, 8), torch.tensor([BOTH]))


def test_an_unknown_fusion_is_named():
    with pytest.raises(ValueError, match="botleneck"):
        CrossModalNetwork(CLASSES, (4, 8), fusion="botleneck")


def test_shared_convolutions_are_one_set_with_norms_of_each_modalitys_own():
    shared, apart = network(share=True), network(share=False)
    assert len(shared.encoders) == len(shared.decoders) == 1
    assert len(apart.encoders) == len(apart.decoders) == 2
    assert shared.encoders[0].levels[0].norm1.weight.shape == (2, 4)
    assert apart.encoders[0].levels[0].norm1.weight.shape == (1, 4)


# absent modalities


@pytest.mark.parametrize(("fusion", "share"), FUSION_AND_SHARING)
def test_a_modality_that_no_sample_has_gives_none(fusion, share):
    net = network(fusion, share)
    assert [output is None for output in net(*inputs(FIRST_ALONE))] == [False, True]
    assert [output is None for output in net(*inputs(SECOND_ALONE, SECOND_ALONE))] == [True, False]


@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
@pytest.mark.parametrize(("fusion", "share"), FUSION_AND_SHARING)
def test_what_volumes_hold_for_an_absent_modality_is_not_looked_at(fusion, share, garbage):
    net = network(fusion, share)
    batch = inputs(FIRST_ALONE, BOTH)
    clean, _ = net(*batch)
    batch[0][0, 1] = garbage
    dirty, _ = net(*batch)
    assert torch.equal(clean, dirty)


@pytest.mark.parametrize(("fusion", "share"), FUSION_AND_SHARING)
def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(fusion, share):
    net = network(fusion, share, stem=2).train()  # not even while training
    batch = inputs(FIRST_ALONE, BOTH, SECOND_ALONE, BOTH)
    together = net(*batch)
    for sample, modality in product(range(4), range(2)):
        if batch[2][sample, modality]:
            alone = net(*one(batch, sample))[modality]
            assert torch.allclose(together[modality][sample], alone[0], atol=1e-4)


@pytest.mark.parametrize("fusion", ["bottleneck", "gated"])
def test_the_other_scan_changes_a_modalitys_prediction(fusion):
    net = network(fusion)
    volumes, position, presence = inputs(BOTH)
    with_it, _ = net(volumes, position, presence)
    without_it, _ = net(volumes, position, torch.tensor([FIRST_ALONE]))
    assert (with_it - without_it).abs().max() > 1e-3


@pytest.mark.parametrize(("fusion", "reaches"), [("bottleneck", False), ("gated", True)])
def test_only_gates_carry_the_other_scan_past_the_bottleneck(fusion, reaches):
    net = network(fusion, channels=(4, 6, 8))
    net.fuse.register_forward_hook(lambda _module, _given, fused: torch.zeros_like(fused))
    volumes, position, presence = inputs(BOTH)
    with_it, _ = net(volumes, position, presence)
    without_it, _ = net(volumes, position, torch.tensor([FIRST_ALONE]))
    assert bool((with_it - without_it).abs().max() > 1e-3) == reaches


def test_each_decoder_gets_the_fused_features_and_those_of_its_own_modality():
    net, seen = network("bottleneck"), {}
    net.fuse.register_forward_hook(lambda _module, _given, fused: seen.update(fused=fused))
    for m in range(2):
        net.decoders[m].register_forward_pre_hook(lambda _module, given, m=m: seen.update({m: given[0]}))
    encoded = net.encode(*inputs(BOTH))
    net.decode(encoded)
    for m in range(2):
        assert torch.equal(seen[m], seen["fused"] + encoded.aware[m])


@pytest.mark.parametrize("channel", range(INPUT_CHANNELS))
def test_intensity_coverage_and_position_all_reach_the_prediction(channel):
    net = network()
    volumes, position, presence = inputs(FIRST_ALONE)
    before, _ = net(volumes, position, presence)
    ramp = torch.linspace(0, 1, 16)  # not a constant, which the first norm would take away
    if channel < 2:
        volumes[:, 0, channel] += ramp
    else:
        position[:, channel - 2] += ramp
    after, _ = net(volumes, position, presence)
    assert (before - after).abs().max() > 1e-3


# the deepest features


@pytest.mark.parametrize("stem", [1, 2])
def test_the_deepest_features_are_given_for_each_modality_that_is_there(stem):
    net = network(stem=stem)
    encoded = net.encode(*inputs(BOTH, SECOND_ALONE))
    assert {m: tuple(aware.shape) for m, aware in encoded.aware.items()} == dict.fromkeys(
        (0, 1), (2, 8, *[4 // stem] * 3)
    )
    assert encoded.aware[0][0].any()
    assert not encoded.aware[0][1].any()  # the sample without the first modality
    assert list(net.encode(*inputs(SECOND_ALONE)).aware) == [1]


def test_the_deepest_features_have_passed_through_the_awareness():
    net, batch = network(), inputs(BOTH)
    seen = []
    net.awareness[0].register_forward_hook(lambda _module, _given, result: seen.append(result))
    encoded = net.encode(*batch)
    assert torch.equal(encoded.aware[0], seen[0])


@pytest.mark.parametrize(("fusion", "share"), FUSION_AND_SHARING)
def test_encoding_and_decoding_apart_is_the_same_as_both_at_once(fusion, share):
    net, batch = network(fusion, share), inputs(BOTH, FIRST_ALONE)
    for apart, at_once in zip(net.decode(net.encode(*batch)), net.features(*batch), strict=True):
        assert torch.equal(apart, at_once)


# gradients


def gradient_of(parameters) -> float:
    """Largest gradient of ``parameters``; 0 where none was computed."""
    return max(0.0 if p.grad is None else float(p.grad.abs().max()) for p in parameters)


@pytest.mark.parametrize("fusion", ["bottleneck", "gated"])
@pytest.mark.parametrize("modality", [0, 1])
def test_one_modalitys_output_trains_the_encoder_of_the_other(fusion, modality):
    net = network(fusion)
    net(*inputs(BOTH))[modality].square().mean().backward()
    assert gradient_of(net.encoders[1 - modality].parameters()) > 0
    assert gradient_of(net.encoders[modality].parameters()) > 0
    assert gradient_of(net.decoders[1 - modality].parameters()) == 0
    assert gradient_of(net.heads[1 - modality].parameters()) == 0


@pytest.mark.parametrize("fusion", ["bottleneck", "gated"])
def test_an_absent_modality_trains_nothing_of_its_encoder(fusion):
    net = network(fusion)
    present, _ = net(*inputs(FIRST_ALONE, BOTH))
    present[0].square().mean().backward()  # of the sample that has the first modality alone
    assert gradient_of(net.encoders[1].parameters()) == 0
    assert gradient_of(net.encoders[0].parameters()) > 0


@pytest.mark.parametrize("loss", [channel_semantic_consistency, channel_affinity_consistency])
def test_a_loss_on_the_deepest_features_trains_both_encoders_and_no_decoder(loss):
    net = network()
    aware = net.encode(*inputs(BOTH, BOTH)).aware
    loss(aware[0], aware[1]).backward()
    assert gradient_of(net.encoders[0].parameters()) > 0
    assert gradient_of(net.encoders[1].parameters()) > 0
    assert gradient_of(net.decoders.parameters()) == 0


def test_gated_fusion_also_joins_the_skips_between_the_finest_level_and_the_bottleneck():
    assert [len(gates) for gates in network("gated", channels=(4, 6, 8, 10)).gates] == [2, 2]
    assert [len(gates) for gates in network("bottleneck", channels=(4, 6, 8, 10)).gates] == [0, 0]


def test_a_gated_skip_by_hand():
    gate = GatedSkip(1)
    with torch.no_grad():
        gate.gate.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1))
        gate.value.weight.fill_(10.0)
        own, other = torch.full((1, 1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1, 1), 0.5)
        # 3 + sigmoid(1 * 3 + 2 * 0.5 - 1) * 10 * 0.5
        assert gate(own, other, torch.ones(1)).item() == pytest.approx(3 + 5 / (1 + math.exp(-3)))
        assert gate(own, other, torch.zeros(1)).item() == 3.0


def test_the_norm_standardises_each_sample_by_itself_and_scales_by_its_modality():
    norm = ModalityNorm(1, 2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([[1.0], [2.0]]))
        norm.bias.copy_(torch.tensor([[0.0], [5.0]]))
    x = torch.tensor([[1.0, 3.0], [100.0, 300.0]]).view(2, 1, 2, 1, 1)
    assert torch.allclose(norm(x, 0).flatten(), torch.tensor([-1.0, 1.0, -1.0, 1.0]), atol=1e-4)
    assert torch.allclose(norm(x, 1).flatten(), torch.tensor([3.0, 7.0, 3.0, 7.0]), atol=1e-4)


# modality-independent awareness


def test_mia_starts_as_the_identity():
    features = torch.randn(2, 5, 3, 4, 2)
    assert torch.equal(ModalityIndependentAwareness()(features), features)


def test_mia_of_two_channels_by_hand():
    # Rows (3, 4) and (5, 0) have the unit rows (0.6, 0.8) and (1, 0), so E = [[1, 0.6], [0.6, 1]] and
    # rowmax(E) - E = [[0, 0.4], [0.4, 0]]. At temperature 0.5 that doubles: A = [[1, e], [e, 1]] / (1 + e), e =
    # exp(0.8).
    mia = ModalityIndependentAwareness()
    with torch.no_grad():
        mia.gamma.fill_(2.0)
        mia.log_temperature.fill_(math.log(0.5))
        aware = mia(torch.tensor([[3.0, 4.0], [5.0, 0.0]]).view(1, 2, 1, 1, 2)).flatten()
    e = math.exp(0.8)
    rows = [(3 + 5 * e, 4.0), (3 * e + 5, 4 * e)]  # (1 + e) * A F
    expected = [f + 2 * a / (1 + e) for f, a in zip((3, 4, 5, 0), (*rows[0], *rows[1]), strict=True)]
    assert aware.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_mia_of_large_features_in_half_precision_does_not_overflow(kind):
    mia = ModalityIndependentAwareness()
    with torch.no_grad():
        mia.gamma.fill_(0.5)
    features = (1e4 * torch.randn(1, 8, 8, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        aware = mia(features)
    assert aware.dtype == kind
    assert aware.isfinite().all()
    exact = mia(features.float())
    assert torch.allclose(aware.float(), exact, rtol=1e-2, atol=100)


def test_mia_is_computed_in_single_precision_whatever_autocast_says():
    mia = ModalityIndependentAwareness()
    with torch.no_grad():
        mia.gamma.fill_(0.5)
        mia.log_temperature.fill_(-4.0)  # a sharp softmax shows every rounding
    features = torch.randn(1, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        aware = mia(features)
    assert torch.equal(aware, mia(features))


def test_mia_learns_its_weight_and_its_temperature():
    mia = ModalityIndependentAwareness()
    features = torch.randn(1, 4, 3, 3, 3)
    mia(features).square().sum().backward()
    assert mia.gamma.grad.abs() > 0  # from where it starts, at 0
    with torch.no_grad():
        mia.gamma.fill_(1.0)
    mia(features).square().sum().backward()
    assert mia.log_temperature.grad.abs() > 0


@pytest.mark.parametrize("stem", [1, 2])
def test_every_feature_cell_is_classified_as_by_a_transposed_convolution(stem):
    net = network(stem=stem)
    features = torch.randn(2, 4, 3, 5, 4)
    for modality, head in enumerate(net.heads):
        assert torch.allclose(net.classify(features, modality), head(features), atol=1e-6)


def test_a_smooth_head_is_a_transposed_convolution_of_kernel_4_that_sees_the_cells_around():
    net = network(stem=2, smooth=True)
    features = torch.randn(2, 4, 4, 5, 6)
    for modality, head in enumerate(net.heads):
        inside = (..., *(slice(2, -2),) * 3)  # at the border, cells go on in place of zeros
        expected = head(features)
        assert expected.shape == (2, CLASSES, 8, 10, 12)
        assert torch.allclose(net.classify(features, modality)[inside], expected[inside], atol=1e-5)


def test_a_smooth_head_sees_no_border_in_features_that_are_the_same_everywhere():
    net = network(stem=2, smooth=True)
    logits = net.classify(torch.ones(1, 4, 3, 3, 3), 0)
    blocks = logits.unflatten(4, (3, 2)).unflatten(3, (3, 2)).unflatten(2, (3, 2))  # (1, K, d, s, h, s, w, s)
    assert torch.allclose(blocks, blocks[:, :, :1, :, :1, :, :1], atol=1e-5)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_part_of_the_cells_is_classified_as_among_all_of_them(smooth, stride):
    net = network(stem=2, smooth=smooth)
    features = torch.randn(1, 4, 6, 7, 6)
    subset = CellSubset(stride, (1, 0, 1))
    whole = subset.voxels(net.classify(features, 0)[0], 2)
    assert torch.allclose(net.classify(features, 0, stride, subset.offsets)[0], whole, atol=1e-5)


def test_a_smooth_head_without_a_strided_stem_is_refused():
    with pytest.raises(ValueError, match="stem_stride of 2, not 1"):
        CrossModalNetwork(CLASSES, (4, 6), stem_stride=1, smooth_head=True)


def test_the_norm_gives_every_channel_of_every_sample_mean_zero_and_deviation_one():
    norm = ModalityNorm(3, modalities=2)
    normalised = norm(5 + 7 * torch.randn(2, 3, 6, 6, 6), 1)
    assert torch.allclose(normalised.mean(dim=(2, 3, 4)), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(normalised.var(dim=(2, 3, 4), correction=0), torch.ones(2, 3), atol=1e-4)


@pytest.mark.parametrize("size", [(2, 2, 2), (2, 3, 2), (2, 5, 5)])
def test_gradients_of_a_grid_two_voxels_deep_hold_nothing_that_lay_in_memory(size):
    torch.manual_seed(0)
    block = ResidualBlock(16, 16, stride=1, modalities=1).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 16, *size).contiguous(memory_format=torch.channels_last_3d)

    def gradients(low_precision):
        block.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low_precision):
            block(x, 0).float().square().sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in block.parameters()])

    expected = gradients(low_precision=False)
    for count in torch.randint(100, 100_000, (20,)).tolist():
        torch.full((count,), math.nan)  # freed at once: what is allocated next finds it
        assert torch.allclose(gradients(low_precision=True), expected, atol=0.05 * float(expected.abs().max()))
