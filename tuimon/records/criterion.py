"""What a loss function of torch was called with and returned, in a step or in an evaluation pass."""

from __future__ import annotations

from dataclasses import dataclass

#: Up to this many classes are all counted one by one.
MOST_CLASSES = 1000
#: Of more classes only so many are told, the most frequent ones.
MOST_FREQUENT = 32


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """How often classes occurred, those that never did left out."""

    #: Class numbers, ascending, and occurrences of each.
    classes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    #: Occurrences of classes that are not listed, because they are too many.
    rest: int = 0

    @property
    def n(self) -> int:
        """Occurrences of all classes."""
        return sum(self.counts) + self.rest


@dataclass(frozen=True, slots=True)
class Criterion:
    """One loss term: the calls of one loss function that belong together."""

    #: As in `torch.nn.functional`; a function called several times has "mse_loss", "mse_loss.1", ...
    name: str
    #: In a step: the mean of what the calls returned (of the elements, where it returned them singly).
    #: In an evaluation: the mean over all `n` of them, whatever the reduction, each batch weighted by
    #: the elements (or class weights) that it averaged over. None where it lies on a device.
    value: float | None = None
    #: "mean", "sum" or "none", as the function was called.
    reduction: str = "mean"
    calls: int = 1
    #: Elements (samples, tokens, pixels) that the loss was taken over, ignored ones left out.
    n: int | None = None
    #: Classes that the logits tell apart; 2 for the binary losses, element by element.
    classes: int | None = None
    #: Elements whose prediction was looked at (a strided part of large ones), and hits among them.
    judged: int = 0
    correct: int | None = None
    #: Targets; the most probable class of each where targets are probabilities.
    labels: ClassCounts | None = None
    #: Most probable class by the logits, of the elements judged.
    predictions: ClassCounts | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions among those judged; None without any."""
        return self.correct / self.judged if self.correct is not None and self.judged else None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A validation pass: losses computed between two training steps without training on them."""

    #: Optimizer steps made when it began, as in `Sample.step`.
    step: int
    #: Unix time at its end, seconds.
    time_s: float
    #: Calls of the first criterion.
    batches: int
    #: From its first loss to its last, seconds.
    duration_s: float = 0.0
    #: In the order first called.
    criteria: tuple[Criterion, ...] = ()

    @property
    def loss(self) -> float | None:
        """The first criterion's mean."""
        return self.criteria[0].value if self.criteria else None

    @property
    def accuracy(self) -> float | None:
        """That of the first criterion that knows classes."""
        return accuracy_of(self.criteria)


def accuracy_of(criteria: tuple[Criterion, ...]) -> float | None:
    """Accuracy of the first criterion that has one."""
    return next((one.accuracy for one in criteria if one.accuracy is not None), None)
