"""Models as people build them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from observing import A, G, assert_describes, observing
from stepping import observe, tokens
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from tuimon.records.layout import TensorKind

# -- outputs that are not simple ---------------------------------------------------------------------------


def test_an_output_that_is_overwritten_in_place() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    kept: list[torch.Tensor] = []
    model[0].register_forward_hook(lambda m, args, out: kept.append(out.detach().clone()))
    seen = observe(model)
    # The first step finds out that it is overwritten; from then on it is read at once.
    for sample, output in list(zip(seen.samples, kept, strict=True))[1:]:
        assert_describes(seen.stats(sample)["0", A].sketch, output)
        assert_describes(seen.stats(sample)["1", A].sketch, output.clamp(min=0))
    assert ("0", A) not in seen.stats(seen.samples[0])


class Twice(nn.Module):
    """Calls one module twice, and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.outputs = [self.shared(x)]
        self.outputs.append(self.shared(torch.tanh(self.outputs[0])))
        self.outputs = [out.detach() for out in self.outputs] if not self.training else self.outputs
        out: torch.Tensor = self.last(self.outputs[1])
        return out


def test_a_module_that_is_called_twice_is_described_by_both_calls() -> None:
    model = Twice()
    seen = observe(model)
    assert_describes(seen.stats()["shared", A].sketch, torch.cat(model.outputs))
    assert seen.stats()["shared", G].sketch.n == 2 * 6 * 4
    assert list(seen.layers()) == ["shared", "last"]
    assert [layer.calls for layer in seen.layers().values()] == [2, 1]


class Half(nn.Module):
    """Puts out the second of two parts that one operation made; the first is used elsewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.first, second = x.split([6, 2], 1)
        return second


class Parted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.part, self.down = nn.Linear(4, 8), Half(), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.part(self.up(x)))
        return out + self.part.first.sum()


def test_the_gradient_is_the_one_of_that_output_among_several() -> None:
    seen = observe(Parted())
    assert seen.stats()["part", A].sketch.n == 6 * 2
    assert seen.stats()["part", G].sketch.n == 6 * 2
    assert seen.stats()["up", G].sketch.n == 6 * 8


class Tied(nn.Module):
    """An embedding whose matrix is the last layer's, as in language models."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.embed(x))
        return out


def test_tied_weights_are_listed_once() -> None:
    seen = observe(Tied(), inputs=tokens)
    assert seen.names(TensorKind.WEIGHT) == ["embed.weight"]
    assert seen.names(TensorKind.GRADIENT) == ["embed.weight"]
    assert set(seen.names(A)) == {"embed", "head"}
    (info,) = [t for t in seen.layout(seen.samples[-1]).tensors if t.kind is TensorKind.WEIGHT]
    assert info.sparse_by_design
    assert seen.stats()["input", TensorKind.INPUT].sketch.n == 15


class Recurrent(nn.Module):
    """Gives a tuple with a tuple in it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hidden = self.lstm(x)[0]
        out: torch.Tensor = self.head(self.hidden)
        return out


def test_of_a_tuple_the_first_tensor_is_read() -> None:
    model = Recurrent()
    seen = observe(model, inputs=lambda: torch.randn(3, 7, 4))
    assert_describes(seen.stats()["lstm", A].sketch, model.hidden)
    assert ("lstm", G) in seen.stats()
    assert "lstm.weight_hh_l0" in seen.names(TensorKind.GRADIENT)


class Attending(nn.Module):
    """Uses a module whose submodule is never called as one."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.attend(x, x, x)[0]
        return out


def test_a_submodule_that_is_not_called_is_hidden_for_that_reason() -> None:
    seen = observe(Attending(), inputs=lambda: torch.randn(3, 7, 4))
    layers = seen.layers()
    assert layers["attend"].hidden is None
    assert layers["attend.out_proj"].hidden == "its forward has not been called as a module"
    assert ("attend.out_proj.weight", TensorKind.GRADIENT) in seen.stats()
    assert ("attend.out_proj", A) not in seen.stats()


class Strange(nn.Module):
    """Gives whole numbers, then complex ones, then none at all."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.complex, self.nothing = Whole(), Complex(), Nothing()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.nothing(x)
        out: torch.Tensor = self.first(x) * self.whole(x) + self.complex(x).real
        return out


class Whole(nn.Module):
    """Signs as whole numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sign().long()


class Complex(nn.Module):
    """A spectrum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x)


class Nothing(nn.Module):
    """Only looks."""

    def forward(self, x: torch.Tensor) -> None:
        return None


def test_outputs_that_no_kernel_reads_are_hidden_or_absent() -> None:
    seen = observe(Strange())
    assert set(seen.names(A)) == {"first"}
    assert {layer.hidden is None for name, layer in seen.layers().items() if name == "first"} == {True}
    for name in ("whole", "complex", "nothing"):
        assert seen.layers()[name].hidden is not None


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool, torch.uint8])
def test_inputs_of_all_kinds(dtype: torch.dtype) -> None:
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.first((x.real if x.is_complex() else x).float())
            return out

    inputs = (torch.randn(6, 4) * 3).to(dtype) if dtype.is_complex else torch.randint(2, (6, 4)).to(dtype)
    seen = observe(Takes(), inputs=lambda: inputs)
    found = seen.stats().get(("input", TensorKind.INPUT))
    assert (found is None) == dtype.is_complex
    if found is not None:
        assert_describes(found.sketch, inputs)


def test_an_empty_batch() -> None:
    seen = observe(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), inputs=lambda: torch.empty(0, 4)
    )
    assert seen.samples[-1].loss == 0.0
    assert seen.samples[-1].grad_norm == 0.0
    assert seen.stats()["0.weight", TensorKind.WEIGHT].sketch.n == 32


def test_batches_of_changing_size() -> None:
    sizes = iter([6, 3, 9, 1])
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    seen = observe(model, steps=4, inputs=lambda: torch.randn(next(sizes), 4))
    assert [seen.stats(s)["1", A].sketch.n for s in seen.samples] == [48, 24, 72, 8]
    assert {sample.layout for sample in seen.samples[1:]} == {seen.samples[-1].layout}


def test_images_with_channels_last() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    with torch.no_grad():
        model[1].bias[:2] = -100.0
    model = model.to(memory_format=torch.channels_last)
    kept: list[torch.Tensor] = []
    model[0].register_forward_hook(lambda m, args, out: kept.append(out.detach().clone()))
    seen = observe(model, 12, lambda: torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last))
    assert kept[-1].is_contiguous(memory_format=torch.channels_last)
    assert_describes(seen.stats()["0", A].sketch, kept[-1])
    assert seen.stats()["2", A].dead_ratio == 2 / 8
    assert seen.layers()["2"].channels == 8


# -- parameters ---------------------------------------------------------------------------------------------


def test_frozen_layers_have_no_gradients_but_activations() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    seen = observe(model)
    assert seen.names(TensorKind.GRADIENT) == ["2.weight", "2.bias"]
    assert ("0", A) in seen.stats()
    assert ("0", G) not in seen.stats()
    trainable = {
        t.name: t.trainable for t in seen.layout(seen.samples[-1]).tensors if t.trainable is not None
    }
    assert trainable == {"0.weight": False, "0.bias": False, "2.weight": True, "2.bias": True}


def test_a_sparse_embedding() -> None:
    model = nn.Sequential(nn.Embedding(1000, 8, sparse=True), nn.Linear(8, 2))
    seen = observe(model, inputs=tokens)
    gradient = model[0].weight.grad.coalesce().values()
    assert_describes(seen.stats()["0.weight", TensorKind.GRADIENT].sketch, gradient)
    everything = [model[0].weight.grad.to_dense(), model[1].weight.grad, model[1].bias.grad]
    norm = float(torch.cat([t.flatten() for t in everything]).double().norm())
    assert seen.samples[-1].grad_norm == pytest.approx(norm, rel=1e-5)
    assert seen.samples[-1].grad_norm_preclip == seen.samples[-1].grad_norm


# -- checkpointing ------------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    """Recomputes its middle in backward."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
        self.middle = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        out: torch.Tensor = self.last(checkpoint(self.middle, x, use_reentrant=self.reentrant))
        return out


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_are_counted_once(reentrant: bool) -> None:
    seen = observe(Checkpointed(reentrant))
    for sample in seen.samples:
        stats = seen.stats(sample)
        for name in ("first", "middle.0", "middle.1", "middle.2"):
            assert stats[name, A].sketch.n == 6 * 8
            assert stats[name, G].sketch.n == 6 * 8
        assert sample.microbatches == 1


@pytest.mark.parametrize("reentrant", [False, True])
def test_also_when_a_smaller_batch_ends_the_data(reentrant: bool) -> None:
    model = Checkpointed(reentrant)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sizes = [6, 6, 4, 6]
    with observing(model) as seen:
        for n in sizes:
            optimizer.zero_grad()
            model(torch.randn(n, 4)).square().mean().backward()
            optimizer.step()
    for n, sample in zip(sizes, seen.samples, strict=True):
        stats = seen.stats(sample)
        for name in ("first", "middle.0", "middle.1", "middle.2"):
            assert (stats[name, A].sketch.n, stats[name, G].sketch.n) == (8 * n, 8 * n)


def test_checkpoints_in_a_row() -> None:
    class Row(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = checkpoint_sequential(self.row, 2, x, use_reentrant=False)
            return out

    seen = observe(Row())
    assert [s.sketch.n for (_, kind), s in seen.stats().items() if kind in (A, G)] == [24] * 8


@dataclasses.dataclass
class Output:
    """What a module may put out instead of a tensor."""

    steps: int
    hidden: torch.Tensor


class Unpacking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.act = Boxed(), nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.inner(x).hidden)
        return out


class Boxed(nn.Module):
    """Has a parameter of its own, and puts out a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: torch.Tensor) -> Output:
        return Output(1, x @ self.weight.T)


def test_the_tensor_in_a_dataclass_is_the_output() -> None:
    seen = observe(Unpacking())
    for kind in (A, G):
        assert {name: s.sketch.n for (name, k), s in seen.stats().items() if k is kind} == {
            "inner": 6 * 3, "act": 6 * 3,
        }  # fmt: skip
