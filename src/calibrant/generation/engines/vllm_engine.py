"""Generation by vLLM (Kwon et al., 2023), for GPUs; an optional package, imported when it is used.

The settings have the same meaning there: a penalty on tokens of prompt and output, then temperature, top-k, top-p. A
bias that no logit outweighs takes the place of suppression; vLLM adds biases before penalties, so that the order does
not matter. Each row has its own seed, but vLLM draws its own random numbers: rows are other ones than our engines
write, from the same distribution, and where a row would have ended is not known when special tokens are suppressed.
"""

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.generation.engine import Progress
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.models.checkpoint.checkpoint_files import companion_files
from calibrant.models.checkpoint.weight_files import weight_files
from calibrant.settings.text_settings import DecodingSettings

NEVER = -1e9  # added to a logit; finite, because a penalty may multiply it
MOST_BIASES = 1024  # as many as vLLM takes for one request


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("vllm") is not None


class VllmEngine:
    """An engine over a model folder; vLLM starts at the first batch, because it must know how large batches are."""

    name = "vllm"

    def __init__(
        self, path: str | Path, config: Any, dtype: str, length: int, tensor_parallel: int = 1, seed: int = 0
    ) -> None:
        self.path, self.config, self.dtype = Path(path), config.get_text_config(), dtype
        self.length, self.tensor_parallel, self.seed = length, tensor_parallel, seed
        self._llm: Any = None

    def knows_ends(self, settings: DecodingSettings) -> bool:
        """Whether `first_end` of a row means something: only where special tokens are drawn."""
        return settings.end_of_text == "stop"

    def row_bytes(self, length: int) -> int:
        """Bytes of key-value cache for one row, over all GPUs; 0 for a model without attention heads."""
        own = getattr(self.config, "num_attention_heads", None)
        if own is None:
            return 0
        heads = getattr(self.config, "num_key_value_heads", None) or own
        width = getattr(self.config, "head_dim", None) or self.config.hidden_size // own
        size = 4 if self.dtype == "float32" else 2
        return int(2 * self.config.num_hidden_layers * heads * width * length * size)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: DecodingSettings,
        vocabulary: Vocabulary,
        batch_size: int,
        progress: Progress,
    ) -> Iterator[Generated]:
        """Finish every prompt, in the order given."""
        from vllm import SamplingParams

        llm = self._start(batch_size)
        fixed = sampling(settings, vocabulary, int(self.config.vocab_size))
        parameters = [SamplingParams(**fixed, seed=p.seed, max_tokens=p.total - len(p.prefix)) for p in prompts]
        inputs = [{"prompt_token_ids": list(p.prefix)} for p in prompts]
        results = llm.generate(inputs, sampling_params=parameters, use_tqdm=False)
        for prompt, result in zip(prompts, results, strict=True):
            row = _row(prompt, list(result.outputs[0].token_ids), set(vocabulary.special), settings)
            progress(len(row.ids) - len(prompt.prefix) + (row.finish_reason == "end_of_text"))
            yield row

    def _start(self, batch_size: int) -> Any:
        from vllm import LLM

        if self._llm is None:
            self._llm = LLM(
                model=str(self._folder()),
                dtype=self.dtype,
                tensor_parallel_size=self.tensor_parallel,
                max_model_len=self.length,
                max_num_seqs=batch_size,
                generation_config="vllm",  # not the model's own sampling settings
                seed=self.seed,
                trust_remote_code=False,
            )
        return self._llm

    def _folder(self) -> Path:
        """A folder with links to the model's files alone: vLLM reads whatever weights it finds in one."""
        self._links = tempfile.TemporaryDirectory(prefix="calibrant-vllm-")
        folder = Path(self._links.name)
        for file in (*weight_files(self.path), *companion_files(self.path)):
            (folder / file.name).symlink_to(file.resolve())
        return folder


def sampling(settings: DecodingSettings, vocabulary: Vocabulary, embeddings: int) -> dict[str, Any]:
    """vLLM's sampling parameters, apart from a row's seed and length.

    Args:
        settings: ours.
        vocabulary: ids beyond its size, up to `embeddings`, are never drawn; special ones are not where suppressed.
        embeddings: number of the model's logits.

    Raises:
        InputError: more ids to leave out than vLLM allows.
    """
    stop = settings.end_of_text == "stop"
    never = [*range(vocabulary.size, embeddings), *(() if stop else vocabulary.special)]
    if len(never) > MOST_BIASES:
        raise InputError(
            f"--engine vllm: {len(never):,} ids must never be drawn (special tokens, and ids beyond the tokenizer's), "
            f"but vLLM takes {MOST_BIASES:,}; use auto or transformers"
        )
    return {
        "top_k": settings.top_k or -1,
        "top_p": settings.top_p,
        "temperature": settings.temperature,
        "repetition_penalty": settings.repetition_penalty,
        "logit_bias": {int(token): NEVER for token in never} or None,
        "stop_token_ids": list(vocabulary.special) if stop else None,
        "min_tokens": 1,  # as ours: a row without a new token could not be scored
        "ignore_eos": True,  # the end of text is among the special tokens
        "detokenize": False,
    }


def _row(prompt: Prompt, new: list[int], special: set[int], settings: DecodingSettings) -> Generated:
    ended = settings.end_of_text == "stop" and bool(new) and new[-1] in special
    ids = (*prompt.prefix, *(new[:-1] if ended else new))
    if not ended and len(ids) != prompt.total:
        raise RuntimeError(f"vLLM ended row {prompt.sample_id} at {len(ids)} of {prompt.total} tokens")
    return Generated(prompt.sample_id, ids, "end_of_text" if ended else "length", len(ids) if ended else None)
