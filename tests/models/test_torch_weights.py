from __future__ import annotations

import sys

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.torch_weights import load_torch_pose_resnet
from tta_lite.types import InputError

torch = pytest.importorskip("torch")
nn = torch.nn

# PoseResNet in PyTorch, for comparison: section 2 of https://arxiv.org/abs/1804.06208 on the ResNet of torchvision. The
# attribute names give the tensor names of the reference's checkpoints.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Residual(nn.Module):
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1; the (first) 3 x 3 has the stride."""

    def __init__(self, channels: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.bn2 = nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchPoseResNet(nn.Module):
    """[B, 3, S, S] -> [B, joints, S/4, S/4]."""

    def __init__(self, depth: int, joints: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        bottleneck = depth >= 50
        channels = 64
        for stage, blocks in enumerate(BLOCKS[depth]):
            residuals = []
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                residuals.append(Residual(channels, 64 << stage, stride, bottleneck=bottleneck))
                channels = (256 if bottleneck else 64) << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*residuals))
        head: list[nn.Module] = []
        for _ in range(3):
            head += [nn.ConvTranspose2d(channels, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU()]
            channels = 256
        self.deconv_layers = nn.Sequential(*head)
        self.final_layer = nn.Conv2d(256, joints, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.final_layer(self.deconv_layers(x))


def random_pose_resnet(depth: int, joints: int, seed: int) -> TorchPoseResNet:
    """A network in evaluation mode, every tensor of it random, with heat maps of the size of 1."""
    torch.manual_seed(seed)
    net = TorchPoseResNet(depth, joints).eval()
    last = "bn3" if depth >= 50 else "bn2"
    branch = sum(BLOCKS[depth]) ** -0.5
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # A Deconv output sees a quarter of its 16 kernel positions.
            share = 0.25 if isinstance(module, nn.ConvTranspose2d) else 1.0
            inputs = module.in_channels * module.kernel_size[0] * module.kernel_size[1] * share
            nn.init.normal_(module.weight, std=(2.0 / inputs) ** 0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            # Residual branches are kept small, or the values grow with every block.
            scale = branch if name.startswith("layer") and name.endswith(last) else 1.0
            nn.init.uniform_(module.weight, 0.7 * scale, 1.3 * scale)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.5)
            module.num_batches_tracked.fill_(1000)
    net.final_layer.weight.data *= 0.3
    return net


def torch_heatmaps(net, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy().transpose(0, 2, 3, 1)


# As torchvision publishes them, with a classifier of 1000 classes.
TORCHVISION_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize(
    ("depth", "joints", "size"),
    [
        (18, 14, 256),
        (50, 16, 256),
        (34, 17, 64),
        *(pytest.param(one, 16, 64, marks=pytest.mark.slow) for one in (101, 152)),
    ],
)
def test_heatmaps_equal_pytorch(tmp_path, depth, joints, size):
    net = random_pose_resnet(depth, joints, seed=depth)
    path = tmp_path / f"pose_resnet_{depth}.pth.tar"
    # As the reference writes it: the training state around it, names of DataParallel.
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 140, "state_dict": state, "perf": 88.5}, path)
    model = load_torch_pose_resnet(path, input_size=size)
    images = np.random.default_rng(depth).normal(size=(1, size, size, 3)).astype(np.float32)

    expected = torch_heatmaps(net, images)
    received = model(images, training=False).numpy()

    assert expected.shape == (1, size // 4, size // 4, joints)
    channels = 512 if depth < 50 else 2048
    head = 16 * 256 * (channels + 512) + 3 * 2 * 256 + 257 * joints
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == TORCHVISION_PARAMETERS[depth] - (channels + 1) * 1000 + head
    # Otherwise an absolute limit would say nothing.
    assert 0.3 < expected.std() < 10
    # The picture must matter, not only biases.
    assert np.abs(expected - torch_heatmaps(net, np.zeros_like(images))).max() > 0.1
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def net18():
    return random_pose_resnet(18, 3, seed=1)


def test_bare_state_dict_and_half_precision(tmp_path, net18):
    path = tmp_path / "bare.pth"
    state = net18.state_dict()
    torch.save({name: state[name].half() if state[name].is_floating_point() else state[name] for name in state}, path)
    model = load_torch_pose_resnet(path, input_size=32)
    assert model.output_shape == (None, 8, 8, 3)
    kernel = net18.deconv_layers[0].weight.detach().half().float().numpy()
    # Keras [row, column, out, in], PyTorch [in, out, row, column].
    assert model.get_layer("deconv1").get_weights()[0][1, 3, 200, 17] == kernel[17, 200, 1, 3]
    assert keras.backend.dtype(model.get_layer("deconv1").weights[0]) == "float32"


def without(name):
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer3.1.bn2.running_var"), r"1 missing \(layer3\.1\.bn2\.running_var\), 0 unexpected"),
        (without("final_layer.bias"), r"1 missing \(final_layer\.bias\)"),
        (without("final_layer.weight"), r"head of PoseResNet"),
        (lambda s: {**s, "deconv_layers.0.bias": torch.zeros(256)}, r"1 unexpected \(deconv_layers\.0\.bias\)"),
        (lambda s: {**s, "layer2.2.conv1.weight": torch.zeros(1)}, r"basic blocks, \[2, 3, 2, 2\]"),
        (lambda s: {**s, "bn1.weight": torch.zeros(63)}, r"'bn1\.weight' must fit layer 'stem_bn'.*\(64,\).*\(63,\)"),
        (lambda s: {**s, "deconv_layers.3.weight": torch.zeros(256, 256, 2, 2)}, r"4 x 4 kernel.*\(256, 256, 2, 2\)"),
        (lambda s: {"fc.weight": torch.zeros(2, 2)}, r"ResNet 18, 34, 50, 101, 152"),
        (lambda s: {"epoch": 3}, r"state dict of tensors"),
        (lambda s: [1, 2], r"state dict of tensors.*Received: list"),
    ],
)
def test_another_architecture_is_an_input_error(tmp_path, net18, change, message):
    path = tmp_path / "other.pth.tar"
    torch.save(change(dict(net18.state_dict())), path)
    with pytest.raises(InputError, match=message) as error:
        load_torch_pose_resnet(path, input_size=32)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "broken.pth.tar"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a PyTorch file of tensors only"):
        load_torch_pose_resnet(path)


class Foreign:
    pass


def test_pickled_code_is_refused(tmp_path):
    path = tmp_path / "foreign.pth.tar"
    torch.save({"state_dict": Foreign()}, path)
    with pytest.raises(InputError, match="not a PyTorch file of tensors only"):
        load_torch_pose_resnet(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"must be a file that exists\. Received: .*nothing\.pth"):
        load_torch_pose_resnet(tmp_path / "nothing.pth")


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    # None in sys.modules is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install tta_lite\[torch\]"):
        load_torch_pose_resnet(tmp_path / "any.pth")
