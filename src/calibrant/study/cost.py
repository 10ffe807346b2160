"""Time and memory of a stage from a model's shape and a machine's rates: arithmetic, nothing is measured here.

A forward pass costs 2 x weights x tokens in its matrix products and, since each token attends to half of its sequence
on average, 2 x length x queries x tokens a layer in its causal attention. `benchmarks/scaling.py` fits the machine's
rates to both and shows how far measurements lie from it.
"""

from dataclasses import dataclass

from calibrant.settings.batches import HEAD_POSITIONS
from calibrant.study.shapes import Shape

ACTIVATIONS = 12  # tensors of a token's width that a decoder layer holds at a time, besides those of the MLP's width
INNER = 4  # tensors of the MLP's width
SCORE_BYTES = 16  # a weight of the linear being pruned: its float32 score and what the selection holds beside it
FLOAT32 = 4


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second.

    products, attention: FLOP/s in the matrix products and in the attention of a forward pass. float32: FLOP/s of
    float32 products (SparseGPT's Hessians). bandwidth: bytes/s that decoding reads. choose: weights/s scored and
    selected. load: bytes/s read from disk. start: seconds of a job before it does anything. runtime: bytes of a process
    that has loaded nothing yet. memory: bytes of the device; 0 for a processor, whose device is the host.
    """

    products: float
    attention: float
    float32: float
    bandwidth: float
    choose: float
    load: float
    start: float
    runtime: float
    memory: float

    @property
    def room(self) -> float:
        """Bytes of the device for a model and what it computes: a tenth is left free."""
        return 0.9 * self.memory - self.runtime


@dataclass(frozen=True)
class Needs:
    """Seconds, and bytes on the device that computes and on its host; both are one on a processor."""

    seconds: float
    device: float
    host: float

    def devices(self, memory: float) -> int:
        """How many devices of `memory` bytes hold it, a tenth of each left free."""
        return 1 if memory <= 0 else max(1, -int(-self.device // (0.9 * memory)))


def forward_seconds(shape: Shape, rates: Rates, tokens: float, length: float, *, head: bool = False) -> float:
    """A forward pass over `tokens` in sequences of `length`; with the head on every position or on none."""
    weights = shape.linear_weights + (shape.embedding_weights if head else 0)
    return 2 * weights * tokens / rates.products + attention_flops(shape, tokens, length) / rates.attention


def attention_flops(shape: Shape, tokens: float, length: float) -> float:
    """Of causal attention, scores and values, over `tokens` in sequences of `length`."""
    return 2.0 * shape.layers * shape.queries * tokens * length


def decode_seconds(shape: Shape, rates: Rates, samples: int, length: int, batch: int, size: int) -> float:
    """Writing `samples` of `length` tokens, `batch` at a time: weights and caches read at each step, and the products.

    size: bytes a number.
    """
    steps = samples * length / min(batch, samples)
    weights = shape.linear_weights + shape.embedding_weights
    caches = samples * length * (length / 2) * cache_bytes(shape, 1, size)
    products = 2 * weights * samples * length / rates.products
    return (steps * weights * size + caches) / rates.bandwidth + products


def passes(shape: Shape, sequential: str = "layer") -> float:
    """Forward passes that pruning costs; `layer` mode runs each layer up to its last input, and again once pruned."""
    if sequential != "layer":
        return 1.0
    collect = 1 - shape.width * shape.inner / shape.layer_weights
    return collect + (shape.layers - 1) / shape.layers


def choose_seconds(shape: Shape, rates: Rates) -> float:
    """Scoring and selecting all weights once."""
    return shape.linear_weights / rates.choose


def hessian_seconds(shape: Shape, rates: Rates, tokens: float) -> float:
    """SparseGPT, GPTQ: the Hessian of each distinct input, its inverse, and the updates of the columns to the right."""
    inputs = (shape.width, shape.queries, shape.width, shape.inner)
    outputs = (shape.queries + 2 * shape.keys, shape.width, 2 * shape.inner, shape.width)
    flops = sum(2 * tokens * n**2 + 2 * n**3 + m * n**2 for n, m in zip(inputs, outputs, strict=True))
    return shape.layers * flops / rates.float32


def cache_bytes(shape: Shape, tokens: float, size: int) -> float:
    """Keys and values of `tokens`, `size` bytes a number."""
    return 2.0 * shape.layers * shape.keys * tokens * size


def whole_bytes(shape: Shape, tokens: float, size: int) -> float:
    """Device memory of a stage that has the whole model loaded and `tokens` in a forward pass."""
    return shape.parameters * size + activation_bytes(shape, tokens, size) + head_bytes(shape)


def decode_bytes(shape: Shape, batch: int, length: int, size: int) -> float:
    """Device memory of writing `batch` rows of `length` tokens."""
    return shape.parameters * size + cache_bytes(shape, batch * length, size) + 3 * FLOAT32 * batch * shape.vocabulary


def fitting_batch(shape: Shape, batch: int, length: int, size: int, room: float) -> int:
    """The largest batch up to `batch` whose caches fit into `room` bytes beside the weights; at least 1.

    Where not even the weights fit (or the room is not known: 0), `batch`, on as many devices as it takes.
    """
    free = room - decode_bytes(shape, 0, length, size)
    row = decode_bytes(shape, 1, length, size) - decode_bytes(shape, 0, length, size)
    return batch if free <= 0 else max(1, min(batch, int(free // row)))


def layer_bytes(shape: Shape, length: int, size: int, *, hessians: bool = False) -> float:
    """Device memory of pruning one decoder layer after the other, one sequence at a time.

    The embedding is there alone at first; then one layer, the scores of its largest linear, and one sequence.
    """
    largest = shape.width * max(shape.inner, shape.queries)
    layer = shape.layer_weights * size + activation_bytes(shape, length, size) + SCORE_BYTES * largest
    if hessians:  # one of each distinct input, and the working copies of the largest
        squares = 2 * shape.width**2 + shape.queries**2 + shape.inner**2
        layer += FLOAT32 * (squares + 3 * max(shape.inner, shape.queries) ** 2)
    return float(max(layer, shape.embedding_weights * size))


def hidden_bytes(shape: Shape, samples: int, length: int, size: int) -> float:
    """Host memory of a calibration set's activations between two layers."""
    return float(samples * length * shape.width * size)


def activation_bytes(shape: Shape, tokens: float, size: int) -> float:
    """What a forward pass holds of `tokens` inside one decoder layer."""
    return tokens * size * (ACTIVATIONS * shape.width + INNER * shape.inner)


def head_bytes(shape: Shape) -> float:
    """Logits of a chunk of positions and their log-probabilities, in float32."""
    return 3.0 * FLOAT32 * HEAD_POSITIONS * shape.vocabulary
