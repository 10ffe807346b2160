"""The scorer as an lm-eval model: same requests, same tokens, same answers as lm-eval's `hf`, shared work done once."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix, resolve_max_length
from torch import nn
from tqdm import tqdm

from calibrant.errors import InputError
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Result, Scorer


class TreeLM(TemplateLM):  # type: ignore[misc]  # lm-eval is untyped
    """An lm-eval model over `Scorer`. Texts are encoded by lm-eval's own rules (`TemplateLM._encode_pair`).

    Log-probabilities are taken in float32 whatever the model's number format; lm-eval's `hf` takes them in the
    model's format unless `softmax_dtype` is given. In float32 the two agree.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, scorer: Scorer) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.scorer = scorer
        self.max_length = resolve_max_length(getattr(model, "config", None), tokenizer)
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
        self._last_text: tuple[str, list[int]] | None = None
        self._last_encoded: tuple[str, list[Request]] | None = None

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._special(self.tokenizer.eos_token_id, "end-of-text token")

    @property
    def prefix_token_id(self) -> int:
        """What conditions an empty context: the BOS token, else the end of text."""
        return self._special(self._first_token, "beginning-of-text or end-of-text token to stand before a text")

    @property
    def _first_token(self) -> int | None:
        """As `prefix_token_id`; None where the tokenizer has neither, which only empty contexts need."""
        bos = self.tokenizer.bos_token_id
        found = self.tokenizer.eos_token_id if bos is None else bos
        return None if found is None else int(found)

    def _special(self, token: int | None, what: str) -> int:
        if token is None:
            raise InputError(f"model {self.tokenizer.name_or_path}: the tokenizer names no {what}")
        return int(token)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokens of a text; without a choice, special tokens as the tokenizer adds them, but never two BOS."""
        first = self._first_token
        if add_special_tokens is None and first is not None and has_bos_prefix(string, self.tokenizer.decode(first)):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        # A question's choices come one after the other with the same context: do not encode it again.
        if self._last_text is not None and self._last_text[0] == string and not options:
            return self._last_text[1]
        tokens: list[int] = self.tokenizer.encode(string, **options)
        return tokens

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        text = context.rstrip()
        if text and (self._last_text is None or self._last_text[0] != text):
            self._last_text = None
            self._last_text = (text, self.tok_encode(text))
        context_tokens, continuation_tokens = super()._encode_pair(context, continuation)
        return context_tokens, continuation_tokens

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Result]:
        """Log-likelihood of each continuation, and whether greedy decoding would give it."""
        digest = hashlib.sha256()
        for instance in requests:
            for text in instance.args:
                digest.update(len(text).to_bytes(8, "big") + text.encode())
        if self._last_encoded is None or self._last_encoded[0] != digest.hexdigest():
            # Variants of one model are asked the same questions: encode them once.
            self._last_encoded = (digest.hexdigest(), [self._request(*instance.args) for instance in requests])
        documents = [(instance.task_name, instance.doc_id) for instance in requests]
        return self._score(self._last_encoded[1], documents, disable_tqdm)

    def _request(self, context: str, continuation: str) -> Request:
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            before, after = [self.prefix_token_id], self.tok_encode(continuation, add_special_tokens=False)
            if after and after[0] == self.prefix_token_id:
                before, after = after[:1], after[1:]
        return self._truncated(before, after)

    def _truncated(self, before: list[int], after: list[int]) -> Request:
        """Cut from the left, as lm-eval does."""
        if not after or not before or len(after) > self.max_length:
            raise InputError(
                f"a continuation has {len(after)} tokens after a context of {len(before)}; "
                f"it must have 1 to {self.max_length} (the model's length)"
            )
        if (most := max(*before, *after)) >= self.vocabulary:
            raise InputError(
                f"model {self.tokenizer.name_or_path}: its tokenizer puts the token id {most} before or into texts, "
                f"and the model knows {self.vocabulary:,} ids"
            )
        return Request((before + after)[-(self.max_length + 1) :][:-1], after)

    def _score(self, requests: Sequence[Request], keys: Sequence[tuple[Any, Any]], disable_tqdm: bool) -> list[Result]:
        """Score requests, those with the same (group, document) key together; groups one after the other."""
        members: dict[tuple[Any, Any], list[int]] = {}
        for index, (group, document) in enumerate(keys):
            # A context cut from the left no longer starts like the others of its group.
            cut = len(requests[index].inputs) == self.max_length
            members.setdefault(((group, cut), document), []).append(index)
        results: list[Result] = [(0.0, False)] * len(requests)
        ordered = sorted(members.items(), key=lambda item: (str(item[0][0]), item[1][0]))
        with tqdm(total=len(ordered), unit="doc", disable=True if disable_tqdm else None) as bar:
            for _, items in itertools.groupby(ordered, key=lambda item: item[0][0]):
                indices = [member for _, member in items]
                scored = self.scorer.score([[requests[i] for i in member] for member in indices], bar.update)
                for member, row in zip(indices, scored, strict=True):
                    for index, result in zip(member, row, strict=True):
                        results[index] = result
        return results

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[Result]:
        encoded = [self._truncated(before, after) for _, before, after in requests]
        return self._score(encoded, [("tokens", index) for index in range(len(encoded))], disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, in windows as lm-eval cuts them."""
        windows: list[Request] = []
        owners: list[int] = []
        for owner, instance in enumerate(requests):
            (text,) = instance.args
            pieces = utils.get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for before, after in map(utils.make_disjoint_window, pieces):
                windows.append(self._truncated(before, after))
                owners.append(owner)
        totals = [0.0] * len(requests)
        keys = [("rolling", index) for index in range(len(windows))]
        for owner, (value, _) in zip(owners, self._score(windows, keys, disable_tqdm), strict=True):
            totals[owner] += value
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Not supported: the paper's tasks are scored by log-likelihood."""
        raise InputError(f"task {requests[0].task_name} generates text; only tasks scored by log-likelihood are run")
