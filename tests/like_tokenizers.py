"""Tokenizers made on the spot that behave as those of well-known models do, and tiny models that have them."""

from pathlib import Path
from typing import Any

from support import make_text
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>"]


def sentencepiece(kind: str, *, puts: bool = True, names: bool = True) -> Any:
    """A BPE tokenizer over words with "▁" for spaces and bytes for what it does not know.

    kind: `llama2` puts a space before every text, by its normaliser; `metaspace` does so by its pre-tokenizer, but not
    before a text that begins with a space; `gemma` puts none.
    puts, names: whether it begins texts with its `<s>`; whether it names that token at all.
    """
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained.train_from_iterator(
        [make_text(600, 0)], trainers.BpeTrainer(vocab_size=400, special_tokens=tokens, show_progress=False)
    )
    vocabulary = trained.get_vocab()
    made = Tokenizer(_merging(trained, vocabulary))
    spaces: list[Any] = [normalizers.Replace(" ", "▁")]
    decoding: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "metaspace":
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *spaces] if kind == "llama2" else spaces)
    if kind != "gemma":
        decoding.append(decoders.Strip(" ", 1, 0))
    made.decoder = decoders.Sequence(decoding)
    made.add_special_tokens(SPECIAL)
    if puts:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    named = {"bos_token": "<s>"} if names else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>", **named)


def byte_level(*, add_prefix_space: bool = False) -> Any:
    """A byte-level BPE tokenizer that names a token for the beginning of texts and puts none, as SmolLM2's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([make_text(600, 0)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _merging(trained: Tokenizer, vocabulary: dict[str, int]) -> models.BPE:
    import json

    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    return models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")


def write_gemma(folder: Path, tokenizer: Any, *, positions: int = 64) -> Path:
    """A random Gemma 3 of two layers with this tokenizer."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=16,
        max_position_embeddings=positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(config)
        for parameter in model.parameters():  # spread out, so that what stands before a token shows
            torch.nn.init.normal_(parameter, std=0.2)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
