"""A random model of two layers and text to go with it, made on the spot: the whole workflow in minutes, no download.

Its numbers mean nothing; it shows that every stage, table and figure works.
"""

import json
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibrant.artefacts.atomic import write_text

SEED = 0
VOCABULARY = 400  # tokens
POSITIONS = 256
COMMON_WORDS = (
    "the a of and to in on was were with for from by at it they she he that which when after before then over under "
    "again still almost never always between without toward along around"
)


def words(name: str, count: int) -> list[str]:
    """Made-up words of a source, by its name."""
    rng = np.random.default_rng(np.frombuffer(name.encode(), np.uint8))
    letters = np.array(list(string.ascii_lowercase))
    return ["".join(rng.choice(letters, int(rng.integers(3, 9)))) for _ in range(count)]


def make_text(vocabulary: Sequence[str], length: int, rng: np.random.Generator) -> str:
    """Sentences of six to fourteen words, `length` words in all or a few more; frequencies follow Zipf's law."""
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    sentences = []
    while length > 0:
        count = int(rng.integers(6, 15))
        sentences.append(" ".join(rng.choice(vocabulary, count, p=weights / weights.sum())).capitalize() + ".")
        length -= count
    return " ".join(sentences)


def make_documents(name: str, count: int, length: int) -> list[str]:
    """Documents of a source: common words and words of its own."""
    rng = np.random.default_rng([SEED, *name.encode()])
    common = COMMON_WORDS.split()
    vocabulary = [word for pair in zip(common, words(name, len(common)), strict=True) for word in pair]
    return [make_text(vocabulary, length, rng) for _ in range(count)]


def write_documents(path: Path, texts: Sequence[str]) -> None:
    """One JSON object a line, with id and text."""
    write_text(path, "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))


def write_tiny_model(
    folder: Path, texts: Sequence[str], *, vocabulary: int = VOCABULARY, positions: int = POSITIONS, seed: int = SEED
) -> None:
    """A random Llama (2 layers, float32, grouped heads) and a byte-level BPE tokenizer trained on `texts`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(torch.float32)
    # Random initialisation is too flat for perplexities and argmaxes to differ: sharpen the head.
    with torch.no_grad():
        model.lm_head.weight.mul_(8.0)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as scratch:
        fast.save_pretrained(scratch)
        model.save_pretrained(scratch)
        for file in sorted(Path(scratch).iterdir()):
            file.replace(folder / file.name)
