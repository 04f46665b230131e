"""What the compiled code is told about tensors: the same by torch's exchange functions as asked in Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.kernels.sketch_cases import DTYPES, normal

cpu_tensors = pytest.importorskip("tuimon_kernels.cpu_tensors")
functions = cpu_tensors.exchange()


def kinds_of_tensors() -> Iterator[torch.Tensor]:
    base = torch.randn(4, 3, 2, 5)
    yield from (base, nn.Parameter(base), base * nn.Parameter(base), base[1:], base[:, 1:], base[..., ::2])
    yield from (base.transpose(1, 3), base.permute(3, 1, 0, 2), base.permute(3, 1, 0, 2)[2:], base.mT[:, :1])
    yield from (base.contiguous(memory_format=torch.channels_last), base[:1].expand(4, 3, 2, 5))
    yield from (
        torch.ones(1).expand(7),
        torch.ones(1, 1, 3).expand(5, 1, 3),
        torch.ones(()),
        torch.ones(1)[::5],
    )
    yield from (torch.empty(0), torch.empty(3, 0, 2).permute(2, 0, 1), torch.empty_strided((2, 3), (1, 1)))
    yield from (normal(9, dtype) for dtype in DTYPES)
    yield from (torch.arange(5), torch.ones(3, dtype=torch.complex64), torch.ones(2, dtype=torch.bool))
    yield from (
        torch.ones(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.nested.nested_tensor([torch.ones(2)]),
    )
    released = torch.ones(64)
    released.untyped_storage().resize_(0)
    yield released
    with torch.inference_mode():
        yield torch.ones(3)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.skipif(not functions[0], reason="this torch has no exchange functions: there is one way only")
def test_torch_tells_what_python_is_told() -> None:
    tensors = list(kinds_of_tensors())
    told, asked = cpu_tensors.Facts(functions), cpu_tensors.Facts((0, 0))
    for some in (tensors[:3], tensors, tensors * 3):  # more than there was room for
        told.read(some)
        asked.read(some)
        assert told.columns(len(some)) == asked.columns(len(some))


def test_an_exchange_that_tells_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for capsule in (None, object()):
        monkeypatch.setattr(torch.Tensor, "__dlpack_c_exchange_api__", capsule, raising=False)
        assert cpu_tensors.exchange.__wrapped__() == (0, 0)
    monkeypatch.undo()
    if functions[0]:
        monkeypatch.setattr(cpu_tensors, "_agrees", lambda functions: False)
        assert cpu_tensors.exchange.__wrapped__() == (0, 0)
