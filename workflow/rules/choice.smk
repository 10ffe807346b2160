# The race: which text to calibrate on. Its rounds are a checkpoint: each says, by what is measured, which sets are next.
if CHOOSES:

    rule judging_parts:
        """Divide {wildcards.text}, which judges, into what chooses, what values the answer, and a part to calibrate on."""
        input:
            documents=f"{DATA}/texts/{{text}}/documents.parquet",
            model=f"{DATA}/model",
        output:
            selection=PATHS.part("{text}", "selection"),
            others=[PATHS.part("{text}", part) for part in ("test", "own")],
        log:
            f"{DATA}/logs/choice/parts-{{text}}.log",
        priority: FIRST_PRIORITY
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=request_of("similarity", "mem_mb"),
            runtime=request_of("similarity", "runtime"),
        params:
            config=TEXT_CONFIG,
            code=CODE.digest("calibrant.choice.judging_files"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/judging_parts.py --config {params.config:q} --text {wildcards.text:q}'
            " --documents {input.documents:q} --model {input.model:q} --output {output.selection:q} &> {log:q}"

    rule pool:
        """Take out of {wildcards.source} what shares text with what judges."""
        input:
            documents=pool_text,
            model=f"{DATA}/model",
            judging=JUDGING,
            tasks=all_task_files() if judging_tasks(config) else [],
        output:
            documents=PATHS.pool("{source}"),
            record=str(Path(PATHS.pool("{source}")).with_suffix(".json")),
        log:
            f"{DATA}/logs/choice/pool-{{source}}.log",
        priority: FIRST_PRIORITY
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=request_of("similarity", "mem_mb"),
            runtime=request_of("similarity", "runtime"),
        params:
            config=TEXT_CONFIG,
            data=lambda wildcards, input: task_rows(input) if judging_tasks(config) else [],
            code=CODE.digest("calibrant.choice.pools"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/pool.py --config {params.config:q} --source {wildcards.source:q}'
            " --documents {input.documents:q} --model {input.model:q} --judging {input.judging:q} {params.data:q}"
            " --output {output.documents:q} &> {log:q}"

    use rule generate as generate_more with:
        output:
            f"{DATA}/generated/{{source}}-p{{prefix}}-c{{chunk}}.parquet",
        log:
            f"{DATA}/logs/generate/{{source}}-p{{prefix}}-c{{chunk}}.log",
        benchmark:
            f"{DATA}/benchmarks/generate/{{source}}-p{{prefix}}-c{{chunk}}.jsonl"
        wildcard_constraints:
            chunk=r"[1-9]\d*",
        params:
            options=lambda wildcards: generation_options(
                samples=set_samples(config), first=first_sample(config, int(wildcards.chunk))
            ),
            compute=literal(compute_options()),
            resolved=resolved,
            code=code("generate"),
            versions=TORCH,

    rule given_set:
        """Take the calibration set that is used today into the race."""
        input:
            lambda wildcards: [local(config["choose"]["reference"])],
        output:
            f"{DATA}/sets/{GIVEN_SET}-given-n{{n}}-s{{seed}}.parquet",
        log:
            f"{DATA}/logs/draw/{GIVEN_SET}-given-n{{n}}-s{{seed}}.log",
        priority: FIRST_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code("filter"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/filter.py --samples {input:q} --drop 0 --output {output:q} &> {log:q}'

    rule first_answer:
        """Say which real text did best, while the model still writes its own."""
        input:
            pools(),
            real_sets,
        output:
            f"{CHOICE}/first.json",
        log:
            f"{DATA}/logs/choice/first.log",
        priority: FIRST_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            config=CHOICE_CONFIG,
            answer=ANSWER,
            cores=cores,
            code=CODE.digest("calibrant.stages.race"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/race_round.py --config {params.config:q} --answer {params.answer:q}'
            " --cores {params.cores:q} --output {output:q} 2>&1 | tee {log:q} >&2"

    checkpoint race_round:
        """Say what is known after round {wildcards.round}, and which sets are next."""
        input:
            unpack(round_inputs),
        output:
            PATHS.round("{round}"),
        log:
            f"{DATA}/logs/choice/round-{{round}}.log",
        wildcard_constraints:
            round=r"\d+",
        priority: FIRST_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            config=CHOICE_CONFIG,
            answer=ANSWER,
            cores=cores,
            code=CODE.digest("calibrant.stages.race"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/race_round.py --config {params.config:q} --round {wildcards.round:q}'
            " --answer {params.answer:q} --cores {params.cores:q} --output {output:q} 2>&1 | tee {log:q} >&2"

    use rule evaluate as value with:
        input:
            masks=f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.safetensors",
            model=f"{DATA}/model",
            dense=f"{CHOICE}/values/none/dense-0.safetensors",
            number_format=number_format(),
            texts=list(valued_texts().values()),
            tasks=all_task_files() if guards(config, "tasks") else [],
        output:
            results=f"{CHOICE}/values/{{calibration}}/{{method}}-{{level}}.json",
            provenance=f"{CHOICE}/values/{{calibration}}/{{method}}-{{level}}.provenance.json",
            measures=f"{CHOICE}/values/{{calibration}}/{{method}}-{{level}}.measures.parquet",
        log:
            f"{DATA}/logs/value/{{calibration}}/{{method}}-{{level}}.log",
        benchmark:
            f"{DATA}/benchmarks/value/{{calibration}}/{{method}}-{{level}}.jsonl"
        params:
            options=literal(value_options()),
            dense=lambda wildcards, input: option("dense", input.dense),
            files=valued_files,
            compute=literal(compute_options()),
            resolved=resolved,
            code=code("evaluate"),
            versions=f"{TORCH}, {installed_versions('lm_eval')}",

    use rule evaluate_dense as value_dense with:
        input:
            model=f"{DATA}/model",
            number_format=number_format(),
            texts=list(valued_texts().values()),
            tasks=all_task_files() if guards(config, "tasks") else [],
        output:
            results=f"{CHOICE}/values/none/dense-0.json",
            provenance=f"{CHOICE}/values/none/dense-0.provenance.json",
            measures=f"{CHOICE}/values/none/dense-0.measures.parquet",
            dense=f"{CHOICE}/values/none/dense-0.safetensors",
        log:
            f"{DATA}/logs/value/none/dense-0.log",
        benchmark:
            f"{DATA}/benchmarks/value/none/dense-0.jsonl"
        params:
            options=literal(value_options()),
            dense=lambda wildcards, output: option("outputs", output.dense),
            files=valued_files,
            compute=literal(compute_options()),
            resolved=resolved,
            code=code("evaluate"),
            versions=f"{TORCH}, {installed_versions('lm_eval')}",

    rule choice:
        """Write the answer: the set in every form, its masks, what it is worth, and the page."""
        input:
            pools(),
            at_the_end(lambda last: measures(measured_runs(config, last["measured"]))),
            at_the_end(lambda last: measures([DENSE, *valued_runs(config, last["valued"])], value=True)),
            round=lambda wildcards: last_round(),
            calibration=at_the_end(lambda last: PATHS.calibration_set(handed(last).calibration)),
            masks=at_the_end(lambda last: PATHS.masks(handed(last))),
            model=f"{DATA}/model",
        output:
            answer=answer_file("answer.json"),
            files=[answer_file(name) for name in ("set.parquet", "masks.safetensors")],
        log:
            f"{DATA}/logs/choice/answer.log",
        priority: FIRST_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            config=CHOICE_CONFIG,
            folder=lambda wildcards, output: str(Path(output.answer).parent),
            cores=cores,
            code=CODE.digest("calibrant.stages.race"),
            templates=data_digest("calibrant.reporting"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/answer.py --config {params.config:q} --round {input.round:q} --model {input.model:q}'
            " --cores {params.cores:q} --output {params.folder:q} 2>&1 | tee {log:q} >&2"

    rule answer:
        """On which text to calibrate: the race to its end."""
        input:
            answer_file("answer.json"),
