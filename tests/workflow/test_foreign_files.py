"""A file of the user's at the place of an output outlives a study, however that is started."""

from collections.abc import Callable

from workspace import Workspace


def test_a_study_does_not_begin_over_files_of_the_users(make_workspace: Callable[[], Workspace]) -> None:
    workspace = make_workspace()
    workspace.configure({"preset": "tiny"})
    name = "data/tiny/sources/harbour/provenance.json"
    file = workspace.folder / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    said = f"{name}: it is no file of calibrant, and study tiny would remove or replace it; move it away"
    made = workspace.run("workflow/study.py", "--config", "my.yaml", check=False)
    assert made.returncode == 2
    assert made.stderr.startswith(f"make study: {said}")
    assert len(made.stderr.splitlines()) == 1
    begun = workspace.snakemake(check=False)
    assert begun.returncode == 1
    assert said in begun.stdout + begun.stderr
    assert file.read_text() == "mine"
    assert not (workspace.folder / "data/tiny-material").exists()
