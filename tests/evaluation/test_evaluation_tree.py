from hypothesis import given
from hypothesis import strategies as st

from calibrant.evaluation.likelihood.request_tree import Request, build_tree, common_prefix

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=7)


@st.composite
def request_sets(draw: st.DrawFn) -> list[Request]:
    requests = []
    for inputs in draw(st.lists(tokens, min_size=1, max_size=6)):
        count = draw(st.integers(1, len(inputs)))
        requests.append(Request(inputs, [0] * count))
    return requests


@given(request_sets())
def test_every_sequence_is_a_path_and_every_distinct_prefix_one_node(requests: list[Request]) -> None:
    tree = build_tree(requests)
    prefixes = {tuple(r.inputs[:n]) for r in requests for n in range(1, len(r.inputs) + 1)}
    assert len(tree) == len(prefixes)
    for request, scored in zip(requests, tree.scored, strict=True):
        last = scored[-1]
        ancestors = [j for j in range(last + 1) if last < tree.end[j]]
        assert [tree.tokens[j] for j in ancestors] == request.inputs
        assert [tree.depth[j] for j in ancestors] == list(range(len(request.inputs)))
        assert scored == ancestors[request.first_scored :]


@given(request_sets())
def test_subtrees_are_nested_ranges(requests: list[Request]) -> None:
    tree = build_tree(requests)
    for i in range(len(tree)):
        assert i < tree.end[i] <= len(tree)
        for j in range(i + 1, tree.end[i]):
            assert tree.end[j] <= tree.end[i]


@given(st.lists(st.lists(st.integers(0, 1), max_size=6), max_size=5))
def test_common_prefix_is_that_of_all(sequences: list[list[int]]) -> None:
    shared = common_prefix(sequences)
    columns = list(zip(*sequences, strict=False)) if sequences else []
    expected = next((i for i, column in enumerate(columns) if len(set(column)) > 1), len(columns))
    assert shared == expected


@given(request_sets(), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_a_skipped_prefix_leaves_the_rest_of_the_tree(requests: list[Request], prefix: list[int]) -> None:
    longer = [Request(prefix + r.inputs, r.targets) for r in requests]
    assert build_tree(longer, skip=len(prefix)) == build_tree(requests)


def test_a_single_sequence_is_a_chain_and_a_fork_is_not() -> None:
    assert build_tree([Request([1, 2, 3], [4])]).is_chain
    assert build_tree([Request([1, 2, 3], [4]), Request([1, 2], [5])]).is_chain
    assert not build_tree([Request([1, 2, 3], [4]), Request([1, 3], [5])]).is_chain
