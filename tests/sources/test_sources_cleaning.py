"""Each cleaning step does its one thing and leaves prose alone; none takes long on hostile text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources_helpers import prose

from calibrant.errors import InputError
from calibrant.sources.cleaning import STEPS, check_steps, clean
from calibrant.sources.sentences import split_sentences

CASES = [
    ("characters", "a\u00a0b\u200b\r\nc\x00d", "a b\ncd"),
    ("characters", "costs Â£5, he said â€œyesâ€\x9d", "costs £5, he said “yes”"),
    ("characters", "itÃ¢â‚¬â„¢s twice misread", "it’s twice misread"),
    ("characters", "her shocking \x97 move", "her shocking — move"),
    ("characters", "e\u0301tude, café, naïve “señor” Ærø", "étude, café, naïve “señor” Ærø"),
    ("whitespace", "  a  b \n\n\n\n c ", "a b\n\nc"),
    ("markup", "<p>One &amp; <b>two</b></p><script>x<1</script>end <!-- no --> a < b", "\nOne & two\n end   a < b"),
    ("wiki", "was born[1][note 2] here.[citation needed] As of 2016[update]", "was born here. As of 2016"),
    ("wiki", "'''Bold''' [[Rome|the city]] and [[Milan]]{{cite|x}} ()", "Bold the city and Milan"),
    ("wiki", "== History ==\nIt [Raul] stays", "History\nIt [Raul] stays"),
    ("coordinates", "524515N 05827W / 52.7541N 0.9742W / 52.7541; -0.9742\n", "\n"),
    (
        "coordinates",
        "Mount B (155144.90N 1204057.70E / 15.8624722N 120.6826944E / 15.8624722; 120.6826944) is tall.",
        "Mount B is tall.",
    ),
    (
        "coordinates",
        "in southern Cuba, at 2218N 8123W / 22.30N 81.38W / 22.30; -81.38. It is low.",
        "in southern Cuba. It is low.",
    ),
    (
        "coordinates",
        "Route 12N and 35 N streets in 1990 S were 12 km",
        "Route 12N and 35 N streets in 1990 S were 12 km",
    ),
    (
        "urls",
        "Read it (https://a.b/c?d=1) now\nhttps://x.y\nsee www.a.org to go on",
        "Read it now\n\nsee www.a.org to go on",
    ),
    ("urls", "Write to me@here.org.", "Write to"),
    ("news", "MOSCOW, March 28. /TASS/. The talks went on.", "The talks went on."),
    ("news", "It was late and the crowd had gone. Source:-Al Jazeera News", "It was late and the crowd had gone."),
    (
        "news",
        "The vote is over now. Send Facebook Twitter Google+ Whatsapp Tumblr linkedin stumble Digg reddit Newsvine "
        "Permalink http://a.b/c And people left. ab/cd (Reuters, AP)",
        "The vote is over now.   And people left.",
    ),
    ("lost_spaces", 'He went.- "No," he said,-The end.-', 'He went.  "No," he said, The end. '),
    ("lost_spaces", "a well-known half-time", "a well-known half-time"),
    ("hansard", "I agree. House of Commons Hansard Debates for 25 Jan 2005 (pt 4) 9.", "I agree. "),
    ("hansard", "Order. [Interruption.] I agree.", "Order.  I agree."),
    ("final_stop", "It ended there", "It ended there."),
    ("final_stop", "He came from the U.S", "He came from the U.S"),
    ("undecodable", "a\ufffdb", None),
    ("lost_characters", 'voted on DeVos"?highly disputed', None),
    ("lost_characters", "Spotify announced-that it had", None),
    ("lost_characters", "the (SPD)-and others", None),
    ("lost_characters", "was on Monday-officially named", None),
    (
        "lost_characters",
        'a state-of-the-art, well-known day-to-day "why?" Who?',
        'a state-of-the-art, well-known day-to-day "why?" Who?',
    ),
    ("not_prose", "1. 12 (3,3,3,3)\n2. 12 (3,3,3,3)", None),
    ("not_prose", "Звездный крик был долгим и ясным этой ночью", None),
    ("not_prose", "short\nlines\nonly\nhere", None),
    ("fragment", "Will he give way?", None),
    ("fragment", "and then the sentence without an end went on", None),
]


@pytest.mark.parametrize(("step", "text", "expected"), CASES)
def test_step(step, text, expected):
    assert STEPS[step](text) == expected


def test_every_step_has_a_case():
    assert {case[0] for case in CASES} == set(STEPS)


def test_steps_leave_plain_prose_alone():
    text = prose(3)
    assert clean(text, list(STEPS)) == (text, "")


def test_dropped_text_names_the_step():
    assert clean("a\ufffd b", ["whitespace", "undecodable", "fragment"]) == (None, "undecodable")


def test_unknown_step_is_refused_with_the_list():
    with pytest.raises(InputError, match=r"unknown step 'wikis'; the steps are characters, markup"):
        check_steps("s", ["wikis"])


@given(st.text(alphabet=st.sampled_from(list("ab.Â£é\n \u00a0[]()<>1N-\"?{}='&;")), max_size=60))
def test_mending_settles(text):
    """Cleaning what is clean changes nothing."""
    for step in ("characters", "whitespace", "lost_spaces"):
        once = STEPS[step](text)
        assert once is not None
        if step != "characters":  # one pass may lay bare what a second pass reads as misread text
            assert STEPS[step](once) == once


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("piece", ["1.", "[", "<!--", "<script>", "( ", "1N ", "A.", "= ", '"?', "a@", ".", "é", "-x "])
def test_no_step_is_slow_on_hostile_text(step, piece):
    text = (piece * 40_000)[:40_000]
    start = time.process_time()
    STEPS[step](text)
    assert time.process_time() - start < 2.0  # a quadratic pattern needs ten and more


def test_sentences():
    text = 'Mr. J. Smith of the U.S. Senate paid $3.5 on Jan. 3. "Why?" asked Dr. No. He left! Then\nNew paragraph'
    assert split_sentences(text) == [
        "Mr. J. Smith of the U.S. Senate paid $3.5 on Jan. 3.",
        '"Why?" asked Dr. No. He left!',
        "Then",
        "New paragraph",
    ]
    assert split_sentences("So said the hon. Member for Bath (Mr. Foster). We agree.") == [
        "So said the hon. Member for Bath (Mr. Foster).",
        "We agree.",
    ]
    assert split_sentences("") == []


@given(st.lists(st.sampled_from([s for i in range(3) for s in split_sentences(prose(i))]), min_size=1, max_size=12))
def test_splitting_undoes_joining(sentences):
    assert split_sentences(" ".join(sentences)) == sentences
