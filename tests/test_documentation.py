"""The code in the documentation runs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, make_text


def test_example_of_the_python_api_runs(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, "model")
    Path("text.jsonl").write_text("".join(json.dumps({"text": make_text(60, i)}) + "\n" for i in range(30)))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), {})
    assert len(blocks) == 1
    assert capsys.readouterr().out.count("'metric': 'perplexity'") == 3


def test_example_of_a_race_runs(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import calibrant as cal

    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, "model")
    for place, name in enumerate(("use", "web", "wiki")):
        texts = [make_text(50 + i % 7, 1000 * place + i) for i in range(60)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    divide, race = re.findall(r"```python\n(.*?)```", (ROOT / "docs/race.md").read_text(), re.DOTALL)
    exec(compile(divide, "docs/race.md", "exec"), {})
    settings = cal.EvaluateSettings(text_average="apart")
    cal.evaluate("model", "dense.json", settings, texts=["selection.jsonl"], outputs="dense.safetensors")
    for name in ("web", "wiki"):
        for number in range(2):
            files = [f"{name}-{number}.{kind}" for kind in ("parquet", "safetensors", "json")]
            cal.sample(f"{name}.pool.jsonl", "model", files[0], cal.SampleSettings(samples=2, length=32, seed=number))
            cal.prune("model", files[0], files[1], cal.PruneSettings(method="wanda", sparsity="0.6"), progress=False)
            cal.evaluate(
                "model", files[2], settings, masks=files[1], texts=["selection.jsonl"], dense="dense.safetensors"
            )
    capsys.readouterr()
    exec(compile(race, "docs/race.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("Take w")
    assert "sets that each must have in all: {'web': 3, 'wiki': 3}" in said


def test_examples_of_a_figure_and_of_a_conclusion_run() -> None:
    from layout_frames import EVEN, make_frame, make_study

    from calibrant.reporting.inference.claims import Claim
    from calibrant.reporting.inference.conclusions import judge_study
    from calibrant.reporting.inference.decisions import Decisions
    from calibrant.reporting.results.study_results import StudyResults

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/layouts.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/layouts.md", "exec"), names)
    frame = make_frame(methods=("wanda",), sources=("web", "news"), chances=EVEN, true=lambda _: 0.7)
    data = StudyResults(frame, make_study())
    drawing = names["gain_drawing"]("gain", data, Decisions())
    assert drawing.figure is not None
    assert re.fullmatch(
        r"60 %: [+−0]\S* points \(95 % interval \S+ to \S+\), (better|worse|undecided)\.", drawing.caption
    )
    judged = judge_study(data, claims=[Claim("x", "Web beats news", "", names["web_beats_news"])], own=False)
    assert judged is not None
    (found,) = judged.claims
    assert found.answer.shown is not None
    assert found.answer.shown.label == "web minus news"


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http") and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_the_api_is_what_its_page_lists() -> None:
    """Every stage with its files and settings class, as the functions have them; everything is importable."""
    import inspect

    import calibrant as cal
    from calibrant.stages.commands import COMMANDS

    page = (ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| `cal\.(\w+)` \| (.*?) \| (.*?) ?\|$", page, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(COMMANDS)
    for name, files, settings in rows:
        parameters = inspect.signature(getattr(cal, name)).parameters
        listed = re.findall(r"`(\w+=?)`", files)
        given = [p.name + "=" * (p.kind is p.KEYWORD_ONLY) for p in parameters.values()]
        assert [each for each in given if each not in ("settings", "progress=")] == listed, name
        classes = re.findall(r"`(\w+)`", settings)
        own = [parameters["settings"].annotation.__name__] if "settings" in parameters else []
        assert own == classes, name
    for name in cal.__all__:
        assert getattr(cal, name) is not None
    assert set(cal.__all__) <= set(dir(cal))
