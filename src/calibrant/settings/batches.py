"""How much is computed at a time: what the stages do, and what a plan reckons their memory with. Imports nothing."""

SCORING_TOKENS = 4096  # of a forward pass of scoring, at most; a longer sequence goes alone
EVALUATION_TOKENS = 2048  # of a forward pass of evaluation on a processor, padding included
EVALUATION_TOKENS_GPU = 16384  # the same on a GPU
HEAD_POSITIONS = 256  # positions whose logits exist at one time, in scoring and evaluation


def evaluation_tokens_at_once(*, gpu: bool) -> int:
    """Tokens of a forward pass of evaluation where nobody asks for another number."""
    return EVALUATION_TOKENS_GPU if gpu else EVALUATION_TOKENS
