"""The discriminators against the naive reference, and the published sizes."""

import pytest
import torch

from photo2cartoon_models.networks.discriminator import LAYERS, Discriminator
from tests.train import nets, reference


@pytest.mark.parametrize(("kind", "seed"), [("global", 0), ("local", 1)])
def test_equals_the_naive_reference(kind: str, seed: int) -> None:
    net = nets.discriminator(LAYERS[kind], seed).double()
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    picture = nets.noise(1, 128, dtype=torch.float64)
    with torch.no_grad():
        found = net(picture)
    logit, cam_logit, heatmap = reference.discriminator(weights, picture[0].numpy())
    assert abs(found.logit[0, 0].numpy() - logit).max() <= 1e-9
    assert abs(found.cam_logit[0].numpy() - cam_logit).max() <= 1e-9
    assert abs(found.heatmap[0, 0].numpy() - heatmap).max() <= 1e-9


@pytest.mark.parametrize(
    ("kind", "tensors", "parameters", "logit", "heatmap"),
    [("global", 35, 13_294_048, 6, 7), ("local", 27, 826_080, 30, 31)],
)
def test_published_sizes(
    kind: str, tensors: int, parameters: int, logit: int, heatmap: int
) -> None:
    net = Discriminator(LAYERS[kind])
    assert len(net.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    output = net(torch.zeros(1, 3, 256, 256))
    assert output.logit.shape == (1, 1, logit, logit)
    assert output.cam_logit.shape == (1, 2)
    assert output.heatmap.shape == (1, 1, heatmap, heatmap)


def test_attention_uses_the_raw_weights_and_the_logit_the_normalised() -> None:
    net = nets.discriminator(LAYERS["local"])
    picture = nets.noise(1, 64)
    with torch.no_grad():
        before = net(picture)
        net.get_parameter("gap_fc.weight_orig").mul_(2)
        after = net(picture)
    torch.testing.assert_close(after.cam_logit, before.cam_logit)  # sigma doubled as well
    assert not torch.allclose(after.heatmap, before.heatmap)
