"""The tiny model of the fixtures loads and is identified."""

from pathlib import Path

from calibrant.models.checkpoint.checkpoint_files import fingerprint
from calibrant.models.checkpoint.loading import load_model, load_tokenizer


def test_tiny_model_loads(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir)
    tokenizer = load_tokenizer(tiny_model_dir)
    ids = tokenizer("the old house", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape[-1] == len(tokenizer)
    assert len(fingerprint(tiny_model_dir)) == 64
