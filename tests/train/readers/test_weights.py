"""Every format that people have is read; everything else is refused and named."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.readers.weights import read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.train import files, nets

Maker = Callable[[Path, Generator], Path]


def torch_file(path: Path, content: Any, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def other() -> dict[str, torch.Tensor]:
    return files.minivision(nets.generator(seed=9, ngf=8))


def prefixed(net: Generator, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in net.state_dict().items()}


def lightning(net: Generator) -> dict[str, Any]:
    """Two generators and a discriminator as attributes of one module, and what else there is."""
    state = prefixed(net, "genA2B.") | {f"genB2A.{name}": value for name, value in other().items()}
    state["disGA.model.0.weight"] = torch.zeros(4, 4)
    return {"state_dict": state, "epoch": 3, "global_step": 7, "pytorch-lightning_version": "2.6"}


def safetensors(path: Path, tensors: dict[str, torch.Tensor], kind: str = "F32") -> Path:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in tensors.items():
        raw = value.contiguous().view(torch.uint8).numpy().tobytes()
        places = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": places}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 256 + 0x80)  # the first byte is that of a pickle
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


FORMATS: dict[str, Maker] = {
    "torch.compile": lambda path, net: torch_file(path, prefixed(net, "_orig_mod.")),
    "torch.compile of DataParallel": lambda path, net: torch_file(
        path, prefixed(net, "_orig_mod.module.")
    ),
    "DataParallel of torch.compile": lambda path, net: torch_file(
        path, prefixed(net, "module._orig_mod.")
    ),
    "one layer compiled": lambda path, net: torch_file(
        path,
        {n.replace("HourGlass1.", "HourGlass1._orig_mod."): v for n, v in net.state_dict().items()},
    ),
    "state_dict": lambda path, net: torch_file(path, {"state_dict": net.state_dict(), "epoch": 3}),
    "checkpoint": lambda path, net: torch_file(
        path,
        {
            "model_state_dict": net.state_dict(),
            "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        },
    ),
    "a network within a wrapper": lambda path, net: torch_file(
        path, {"model": {"genA2B": {"state_dict": net.state_dict()}, "genB2A": other()}}
    ),
    "Lightning": lambda path, net: torch_file(path, lightning(net)),
    "Lightning, one network": lambda path, net: torch_file(
        path, {"state_dict": prefixed(net, "generator."), "loops": {"fit_loop": {}}}
    ),
    "Lightning, compiled": lambda path, net: torch_file(
        path, {"state_dict": prefixed(net, "genA2B._orig_mod.")}
    ),
    "numbers beside": lambda path, net: torch_file(
        path,
        {"genA2B": net.state_dict(), "iter": np.int64(5), "loss": np.float32(0.1), "lr": [1e-4]},
    ),
    "numbers among": lambda path, net: torch_file(
        path, {**net.state_dict(), "epoch": 3, "step": torch.tensor(5), "seen": np.float64(2)}
    ),
    "an array of numpy beside": lambda path, net: torch_file(
        path, {"genA2B": net.state_dict(), "history": np.arange(9.0)}
    ),
    "safetensors": lambda path, net: safetensors(path, dict(net.state_dict())),
    "safetensors, wrapped": lambda path, net: safetensors(path, prefixed(net, "module.genA2B.")),
    "minivision, six networks": lambda path, net: torch_file(
        path, files.six(files.minivision(net), other())
    ),
    "minivision, bare": lambda path, net: torch_file(path, files.minivision(net)),
    "minivision, module.": lambda path, net: torch_file(
        path, {f"module.{n}": v for n, v in files.minivision(net).items()}
    ),
    "minivision, torch before 1.6": lambda path, net: torch_file(
        path, files.six(files.minivision(net), other()), old=True
    ),
    "without dead tensors": lambda path, net: torch_file(path, net.state_dict()),
    "paddle, flat": lambda path, net: files.flat_pdparams(path, files.paddle(net), 4),
    "paddle, flat, old": lambda path, net: files.flat_pdparams(path, files.paddle(net), 2),
    "paddle, nested": lambda path, net: files.nested_pdparams(path, files.paddle(net), False),
    "paddle, nested pairs": lambda path, net: files.nested_pdparams(path, files.paddle(net), True),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str) -> None:
    net = nets.generator(ngf=8)
    weights = read_weights(FORMATS[name](tmp_path / "weights.bin", net))
    assert (weights.ngf, weights.light) == (8, True)
    assert weights.tensors.keys() == net.state_dict().keys()
    for key, value in net.state_dict().items():  # `net` lost its biases if Paddle has none
        assert weights.tensors[key].tobytes() == value.numpy().tobytes(), key
    photo = nets.noise(1, 32)
    with torch.no_grad():
        assert torch.equal(weights.generator()(photo).image, net(photo).image)


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float16, "F16"), (torch.bfloat16, "BF16")])
def test_half_precision_of_safetensors(tmp_path: Path, dtype: torch.dtype, kind: str) -> None:
    net = nets.generator(ngf=8).to(dtype)
    weights = read_weights(safetensors(tmp_path / "w", dict(net.state_dict()), kind))
    assert "safetensors file" in weights.format
    for name, value in net.state_dict().items():
        assert weights.tensors[name].tobytes() == value.float().numpy().tobytes(), name


def test_the_chosen_network_of_a_lightning_module(tmp_path: Path) -> None:
    net = nets.generator(ngf=8)
    path = torch_file(tmp_path / "w.ckpt", lightning(net))
    assert "genA2B of several networks" in read_weights(path).format
    weights = read_weights(path, "genB2A").tensors["conv1x1.bias"]
    assert weights.tobytes() == other()["conv1x1.bias"].numpy().tobytes()
    with pytest.raises(WeightsError, match="no network genC in the file; it holds genA2B, genB2A"):
        read_weights(path, "genC")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(a={"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}), "a is I64"),
        (lambda h: h.update(a={"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}), "9"),
        (lambda h: h.update(a={"dtype": "F32", "shape": [2], "data_offsets": [60, 68]}), "a does"),
        (lambda h: h.update(a={"dtype": "F32"}), "not a readable safetensors file"),
        (lambda h: h.update(a=1), "not a readable safetensors file"),
        (lambda h: h.clear(), "not a photo2cartoon generator"),
    ],
    ids=["whole numbers", "too few", "beyond the end", "no place", "no object", "nothing"],
)
def test_damaged_safetensors_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    header: dict[str, Any] = {"b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    change(header)
    text = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    with pytest.raises(WeightsError, match=message):
        read_weights(path)
    path.write_bytes(struct.pack("<Q", len(text)) + b"{" * len(text) + bytes(64))
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        read_weights(path)


def test_numpy_1_names_of_pickled_arrays(tmp_path: Path) -> None:
    """numpy 2 pickles under numpy._core; files from before say numpy.core."""
    net = nets.generator(ngf=8)
    path = files.flat_pdparams(tmp_path / "old.pdparams", files.paddle(net), 2)
    content = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in content
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert read_weights(path).tensors.keys() == net.state_dict().keys()


def test_full_variant_and_half_precision(tmp_path: Path) -> None:
    net = nets.generator(ngf=8, img_size=32, light=False).half()
    weights = read_weights(torch_file(tmp_path / "w.pt", net.state_dict()))
    assert (weights.light, weights.img_size) == (False, 32)
    assert {weight.dtype for weight in weights.tensors.values()} == {np.dtype(np.float32)}


def test_the_chosen_network(tmp_path: Path) -> None:
    net = nets.generator(ngf=8)
    path = torch_file(tmp_path / "w.pt", files.six(other(), files.minivision(net)))
    weights = read_weights(path, "genB2A").tensors
    assert weights["conv1x1.bias"].tobytes() == net.state_dict()["conv1x1.bias"].numpy().tobytes()
    with pytest.raises(WeightsError, match="no network genC in the file; it holds genA2B, "):
        read_weights(path, "genC")


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    net = nets.generator(ngf=8)
    pt = torch_file(tmp_path / "w.pt", files.minivision(net))
    assert "dropped 56 dead ConvBlock4" in read_weights(pt).notes[0]
    paddle = files.flat_pdparams(tmp_path / "w.pdparams", files.paddle(net), 4)
    assert "biases of linear layers are zero" in read_weights(paddle).notes[0]


def broken(change: Callable[[dict[str, torch.Tensor]], object]) -> dict[str, torch.Tensor]:
    state = dict(nets.generator(ngf=8).state_dict())
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1x1.bias"), r"missing: conv1x1\.bias$"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown: extra$"),
        (
            lambda s: s.update({"conv1x1.bias": torch.zeros(3)}),
            r"another shape: conv1x1\.bias \(3,\) for \(32,\)",
        ),
        (lambda s: s["gap_fc.weight"].fill_(np.nan), r"not finite: gap_fc\.weight$"),
        (lambda s: s.update({"gap_fc.weight": torch.zeros(1, 32, dtype=torch.int8)}), "int8"),
        (lambda s: s.pop("FC.0.weight"), "not a photo2cartoon generator; its first tensors: Conv"),
        (lambda s: [s.pop(name) for name in list(s) if "HourGlass" in name], "and .* more"),
    ],
)
def test_wrong_tensors_are_named(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_weights(torch_file(tmp_path / "w.pt", broken(change)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ONNX file has no weight"),
        (b"no weights at all", "neither a torch, Paddle or safetensors file nor ONNX"),
        (b"PK\x03\x04 cut", "not a readable torch file"),
        (pickle.dumps([1, 2], 4), "holds a list"),
        (pickle.dumps({"a": np.zeros(1)}, 4)[:-9], "not a readable pickle"),
        (pickle.dumps({"a": "text"}, 4), "a is str: weights are arrays"),
        (pickle.dumps({"UnpackBigParamInfor@@": {}}, 4), "cut in pieces"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        read_weights(tmp_path / "none.pt")


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "here I was")


@pytest.mark.parametrize("kind", ["torch", "old torch", "pdparams 2", "pdparams 4"])
def test_malicious_files_run_nothing(tmp_path: Path, kind: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil"
    content = {"genA2B": {"ConvBlock1.1.weight": Evil(trace)}}
    if "torch" in kind:
        torch_file(path, content, old=kind.startswith("old"))
    else:
        path.write_bytes(pickle.dumps(content, int(kind[-1])))
    with pytest.raises(WeightsError, match=r"refused: .*nothing of it was run|Nothing of it was"):
        read_weights(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace)))
    assert trace.exists()  # it would have


@pytest.mark.parametrize(
    "array",
    [
        np.array([Path()], object),
        np.zeros(1, [("a", "f4")]),
        np.array(["text"]),
    ],
)
def test_arrays_of_other_things_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"a": array}, 4))
    with pytest.raises(WeightsError, match=r"refused|array of|weights are"):
        read_weights(path)


def test_old_hourglass_is_refused(tmp_path: Path) -> None:
    """Trained before 2020-05-04: levels 2 to 4 of each hourglass were never touched."""
    state = nets.generator(ngf=8).state_dict()
    untouched = tuple(f"HG.0.ConvBlock{level}_" for level in (2, 3, 4))
    for name, value in state.items():
        if value.ndim == 4 and not any(part in name for part in untouched):
            value.mul_(3)
    path = torch_file(tmp_path / "w.pt", state)
    with pytest.raises(WeightsError, match="hourglass as it was before 2020-05-04"):
        read_weights(path)
    state["HourGlass3.HG.0.ConvBlock4_2.ConvBlock2.3.weight"].mul_(3)  # one touched: not the old
    assert read_weights(torch_file(path, state)).ngf == 8
