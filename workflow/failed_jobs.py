"""What a failed job says is told at once, where the user looks; one with invalid input ends the study.

The profiles keep a study going when a job fails, which is right for one that ran out of memory and wrong for input that
is no good: what needs it fails too, minutes or hours later.
"""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REASON = re.compile(r"calibrant( \w+)?: .+")  # how every stage says in its last line why it stopped
INTERRUPTED = re.compile(r"calibrant( \w+)?: (interrupted|stopped|the warm server stopped)\b.*")
LONGEST = 500  # characters of a line that are shown
NOISE = re.compile(r"RuleException:\s+CalledProcessError in file")  # the shell command, which says nothing of why


class FailedJobs(logging.Handler):
    """Listens to Snakemake's log: prints a line for each job that failed, and all of them again at the end."""

    def __init__(self, workflow: Any, words: Sequence[str]) -> None:
        super().__init__(logging.ERROR)
        self.workflow = workflow
        self.keep_going = any(w == "--keep-going" or re.fullmatch(r"-[a-zA-Z]*k[a-zA-Z]*", w) for w in words)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a failed job; other records are Snakemake's own to show."""
        if not hasattr(record, "rule_name"):
            return
        job = next((each for each in self.workflow.scheduler.running if _is(each, record)), None)
        log = next(map(str, job.log if job is not None and not job.is_group() else record.log), "")  # type: ignore[attr-defined]
        line = last_line(log)
        named = f" ({job.wildcards})" if job is not None and not job.is_group() and job.wildcards else ""
        said = line or "without a word, perhaps for want of memory"
        self.told.append(f"{record.rule_name}{named} failed: {said}\n  its log: {log or 'none'}")
        print(self.told[-1], file=sys.stderr, flush=True)
        if REASON.fullmatch(line) and not INTERRUPTED.fullmatch(line) and not self.keep_going:
            if job is not None:
                job.attempt = job.restart_times + 1  # the same input would be refused again
            if self.workflow.scheduler.keepgoing:
                print("  no more jobs are started; --keep-going runs those that do not need it", file=sys.stderr)
            self.workflow.scheduler.keepgoing = False

    def repeat(self) -> None:
        """All that failed, once more: minutes of other jobs may stand above."""
        for told in dict.fromkeys(self.told):
            print(told, file=sys.stderr)


def listen(workflow: Any, words: Sequence[str]) -> FailedJobs:
    """Listen to a workflow's log from here on; `words` are those of Snakemake's command line."""
    from snakemake.logging import logger

    handler = FailedJobs(workflow, words)
    logger.addHandler(handler)
    logger.addFilter(lambda record: not NOISE.match(str(record.msg)))
    return handler


def last_line(path: str) -> str:
    """The last line of a job's log that is not empty; of a long one its beginning."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1][:LONGEST] if lines else ""


def _is(job: Any, record: Any) -> bool:
    return not job.is_group() and job.jobid == record.jobid
