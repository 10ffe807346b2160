# What the rules of the race read: which sets the last round asked for, and what the answer is made of.
ANSWER_FILES = []

if CHOOSES:
    CHOICE = PATHS.choice
    JUDGING = [PATHS.part(name, part) for name in judging_texts(config) for part in ("selection", "test")]
    ANSWER = config["choose"]["answer"] or REPORT
    CHOICE_CONFIG = literal(json.dumps(config, sort_keys=True))
    TEXT_CONFIG = literal(json.dumps(text_settings(config), sort_keys=True))

    def answer_file(name):
        """A file of the answer, which may lie in the working folder itself."""
        return name if ANSWER == "." else f"{ANSWER}/{name}"

    def pool_text(wildcards):
        """What a pool is made of: a source, or the part of a judging text that is a candidate itself."""
        source = wildcards.source
        if source.startswith(OWN):  # the name of no source (choose_section.check_choose)
            return PATHS.part(source.removeprefix(OWN), "own")
        return f"{DATA}/sources/{source}/documents.parquet"

    def pools():
        """Every pool of the race, and its record."""
        named = {each.source for each in entries(config).values() if each.origin != "given"}
        files = [PATHS.pool(source) for source in sorted(named)]
        return [*files, *(str(Path(file).with_suffix(".json")) for file in files)]

    def measures(runs, value=False):
        """The measures of runs, on what chooses, or on what values the answer and guards."""
        place = PATHS.value if value else PATHS.evaluation
        return [str(Path(place(run)).with_suffix(".measures.parquet")) for run in runs]

    def round_inputs(wildcards):
        """What a round reads: what the one before it asked for. The checkpoint is looked at, not only its file."""
        number = int(wildcards.round)
        if not number:
            return {"pools": pools()}
        before = str(checkpoints.race_round.get(round=number - 1).output[0])
        counts = read_round(before)["needed"]
        first = [f"{CHOICE}/first.json"] if number == 1 and "synthetic" in config["choose"]["origins"] else []
        plain = measures([baseline(config), DENSE])
        return {"before": before, "measures": measures(measured_runs(config, counts)), "plain": plain, "first": first}

    def last_round():
        """The file of the round after which the race has ended."""
        for number in itertools.count():
            file = str(checkpoints.race_round.get(round=number).output[0])
            if read_round(file)["needed"] is None:
                return file

    def at_the_end(of):
        """An input function of the last round, which the race has to reach first."""
        return lambda wildcards: of(read_round(last_round()))

    def handed(last):
        """The run whose set is handed over."""
        return valued_runs(config, last["valued"])[0]

    def real_sets(wildcards):
        """The measures of the sets of real text in the first round."""
        counts = read_round(str(checkpoints.race_round.get(round=0).output[0]))["needed"]
        return measures(measured_runs(config, {n: c for n, c in counts.items() if entries(config)[n].origin == "real"}))

    ANSWER_FILES.append(answer_file("answer.json"))

    def cores(wildcards, input):
        """Jobs at a time, by which the time left is told. No change of it reruns a job, since it reads `input`."""
        return workflow.cores
