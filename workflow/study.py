"""`make study [CONFIG=my.yaml]`: run the study, or targets of it, then Snakemake's own report; say where they are.

With `--directory` the study lies in another folder, under its own configuration: `calibrant choose` runs it so. Unlocks
the working folder after a run that was killed, but only when no other Snakemake is alive in it.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from study_folders import cache_variables, check_writable

from calibrant.artefacts.temporary_names import TEMPORARY
from calibrant.cli.warm import ENVIRONMENT, VARIABLE, left_out, why_not
from calibrant.errors import InputError
from calibrant.stages.study_check import check_files, check_study
from calibrant.stages.study_contents import check_contents
from calibrant.study.config_layers import preset_names
from calibrant.study.paths import StudyPaths
from calibrant.study.study_file import load_config, load_preset
from calibrant.system import sees_processes

ROOT = Path(__file__).resolve().parents[1]
ANSWER = "answer"  # the target of a race


def other_runs(root: Path) -> list[int] | None:
    """Process ids of other Snakemakes whose working folder is `root`; None where none can be looked at."""
    if not sees_processes():
        return None
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if any(Path(w).name == "snakemake" for w in words[:3]) and Path(process.cwd()) == root:
                found.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def remove_unfinished(*folders: Path) -> None:
    """Remove what writers that were killed left behind (`artefacts.atomic`); only when nobody writes there any more."""
    for folder in folders:
        remove_named([*folder.rglob(f"{TEMPORARY}*")])


def remove_named(paths: Iterable[Path]) -> None:
    """Remove files and whole folders."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def warm_server() -> Iterator[None]:
    """A server that has torch loaded, for the jobs of this machine (calibrant.cli.warm); gone when we are.

    Where none can be, one line says so, and jobs load torch themselves.
    """
    with tempfile.TemporaryDirectory(prefix="calibrant-") as folder:
        address = str(Path(folder) / "socket")
        if reason := why_not(address):
            print(left_out(reason), file=sys.stderr, flush=True)
            yield
            return
        lifeline, ours = os.pipe()
        command = [sys.executable, "-m", "calibrant.cli.warm", address, str(lifeline)]
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT / "src")}
        server = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[lifeline], start_new_session=True)
        os.close(lifeline)
        os.environ[VARIABLE] = address
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            os.close(ours)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(1)
            server.kill()  # it may still be importing, for jobs that were never needed
            server.wait()


def run_to_its_end(command: list[str]) -> int:
    """Run Snakemake; when we are asked to stop, ask it to stop and wait until its jobs have."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # A terminal sends Ctrl-C to Snakemake too. A handler, unlike SIG_IGN, is not inherited: Snakemake, which
    # cancels its jobs on SIGINT and waits for them on SIGTERM, must hear it even where a shell started us with `&`.
    signal.signal(signal.SIGINT, lambda *_: None)
    with subprocess.Popen(command, cwd=ROOT) as process:
        while process.poll() is None:
            if stop.wait(0.2):
                process.send_signal(signal.SIGINT)
                return process.wait()
        return process.returncode


def snakemake(root: Path) -> list[str]:
    """The command line of Snakemake for a study in a folder."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(ROOT / "workflow/profiles/default")]
    return command if root == ROOT else [*command, "--snakefile", str(ROOT / "Snakefile"), "--directory", str(root)]


def main() -> int:
    """Exit status of Snakemake; 0 when the study is complete, 2 for a configuration that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="folder of the study, with its config.yaml; this checkout by default")
    parser.add_argument("--config", help="YAML file over config.yaml, or the name of a preset")
    parser.add_argument("--target", action="append", default=[], help="a table or figure, or paper for all; repeatable")
    parser.add_argument("rest", nargs="*", help="further arguments for Snakemake, after --")
    options = parser.parse_args()
    root = Path(options.directory or ROOT).resolve()
    inside = root == ROOT
    caller = "make study" if inside else "calibrant choose"
    by_name = options.config in preset_names() and not Path(options.config).exists()
    file = Path(options.config or "config.yaml").resolve()
    try:
        base = root / "config.yaml"
        config = load_preset(options.config, base) if by_name else load_config(options.config or base, base)
        os.chdir(root)  # where Snakemake runs, and the names of files are to be read
        check_study(config, options.config or "config.yaml")
        elsewhere = any("profile" in word or "storage" in word for word in options.rest)  # where files may lie
        if not elsewhere:
            check_files(config, options.config or "config.yaml")
        check_writable(root, (".snakemake", "data", "reports") if inside else (".snakemake", "data"))
        os.environ.update(cache_variables(root, os.environ))
        name = config["study"]
    except InputError as error:
        print(f"{caller}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    alive = other_runs(root)
    if alive:
        print(
            f"{caller}: another Snakemake (process {alive[0]}) is running here; wait for it or stop it",
            file=sys.stderr,
        )
        return 1
    try:
        if not elsewhere:
            check_contents(name)
    except InputError as error:
        print(f"{caller}: {error}", file=sys.stderr)
        return 2
    command = snakemake(root)
    if options.config and (inside or file != base):  # Snakemake reads the folder's own config.yaml by itself
        command += ["--config", f"preset={options.config}"] if by_name else [f"--configfile={file}"]
    if "choose" in config and not elsewhere:
        command += ["--retries", "1"]  # a job that was killed runs again, then stops the race
    locks = root / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        if alive is None:
            unlock = shlex.join(["snakemake", *([] if inside else command[5:]), "--unlock"])
            print(
                f"{caller}: an earlier run left its locks here, and this system does not show whether it still runs. "
                f"If it does not: .venv/bin/{unlock}, then the same command",
                file=sys.stderr,
            )
            return 1
        subprocess.run([*command, "--unlock"], cwd=ROOT, check=True)
        remove_unfinished(root / "data" / name, root / "reports" / name)
        if not inside:  # where the answer lies
            remove_named(root.glob(f"{TEMPORARY}*"))
    with warm_server():
        status = run_to_its_end([*command, *options.rest, *(["--", *options.target] if options.target else [])])
    if not inside:
        return status  # its caller says the rest
    if status:
        print(
            "make study: stopped before the end. If a message above says what is wrong, mend that (a job's own is in "
            f"data/{name}/logs); then, as after an interruption, the same command goes on where it was",
            file=sys.stderr,
        )
        return status
    if "choose" in config and options.target in ([], [ANSWER]):
        print(
            f"The answer is {config['choose']['answer'] or StudyPaths(name).report}/index.html; the set lies beside it"
        )
    if options.target:
        if "paper" in options.target:
            print(f"The page of all tables, figures and conclusions is reports/{name}/paper/index.html")
        if options.target != [ANSWER]:
            print(
                f"The pages of {', '.join(options.target)} are in reports/{name}, one folder for each table and figure"
            )
        return 0
    page = ROOT / StudyPaths(name).own_report(config) / "index.html"
    archive = page.with_name("snakemake-report.html")
    if page.exists() and (not archive.exists() or archive.stat().st_mtime < page.stat().st_mtime):
        subprocess.run([*command, "--report", str(archive.relative_to(ROOT))], cwd=ROOT, check=True)
    if page.exists():  # there is none after a dry run
        print(f"The report is {page.relative_to(ROOT)}; as plain text, summary.md beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
