# Stages sample and filter: calibration sets of real text, and of text that the model wrote.
# Whether generated rows are of other lengths than a set's, or are to be tokenised anew: sets are windows of them then.
REPACKED = repacked(config)

# Whether pools are filtered as a whole: a set that is a block of its rows filters those alone.
FILTERED_FIRST = filtered_first(config)


rule sample:
    """Draw {wildcards.n} windows of real text from {wildcards.source}, seed {wildcards.seed}."""
    input:
        documents=CALIBRATION_TEXT,
        model=f"{DATA}/model",
    output:
        f"{DATA}/sets/{{source}}-real-n{{n}}-s{{seed}}.parquet",
    log:
        f"{DATA}/logs/sample/{{source}}-real-n{{n}}-s{{seed}}.log",
    benchmark:
        f"{DATA}/benchmarks/sample/{{source}}-real-n{{n}}-s{{seed}}.jsonl"
    priority: FIRST_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=request_of("sample", "mem_mb"),
        runtime=request_of("sample", "runtime"),
    params:
        options=lambda wildcards: window_options(packing=packing(wildcards.source)),
        code=code("sample"),
        versions=installed_versions("transformers", "tokenizers"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/sample.py --documents {input.documents:q} --model {input.model:q}'
        " --samples {wildcards.n:q} --seed {wildcards.seed:q} {params.options:q}"
        " --source {wildcards.source:q} --output {output:q} &> {log:q}"


if FILTERED_FIRST:

    rule filter:
        """Drop the share {wildcards.drop} of the generated samples of {wildcards.source}, those of highest perplexity."""
        input:
            samples=f"{DATA}/generated/{{source}}-p{{prefix}}.parquet",
            scores=f"{DATA}/scores/generated/{{source}}-p{{prefix}}.parquet",
        output:
            kept=f"{DATA}/filtered/{{source}}-p{{prefix}}-d{{drop}}.parquet",
            dropped=f"{DATA}/filtered/{{source}}-p{{prefix}}-d{{drop}}.dropped.parquet",
        log:
            f"{DATA}/logs/filter/{{source}}-p{{prefix}}-d{{drop}}.log",
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code("filter"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/filter.py --samples {input.samples:q} --scores {input.scores:q}'
            " --drop {wildcards.drop:q} --output {output.kept:q} &> {log:q}"


if REPACKED:

    rule pack:
        """Pack the generated samples of {wildcards.source}, which are not of the sets' length, into windows."""
        input:
            documents=f"{DATA}/filtered/{{source}}-p{{prefix}}-d{{drop}}.parquet",
            model=f"{DATA}/model",
        output:
            f"{DATA}/sets/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.parquet",
        log:
            f"{DATA}/logs/pack/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.log",
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=request_of("sample", "mem_mb"),
            runtime=request_of("sample", "runtime"),
        params:
            options=literal(window_options(retokenise=config["generation"]["retokenise"])),
            code=code("sample"),
            versions=installed_versions("transformers", "tokenizers"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/sample.py --documents {input.documents:q} --model {input.model:q}'
            " --samples {wildcards.n:q} --seed {wildcards.seed:q} {params.options:q}"
            " --source {wildcards.source:q} --output {output:q} &> {log:q}"

elif FILTERED_FIRST:

    rule draw:
        """Draw {wildcards.n} of the generated samples of {wildcards.source} that are left, seed {wildcards.seed}."""
        input:
            f"{DATA}/filtered/{{source}}-p{{prefix}}-d{{drop}}.parquet",
        output:
            f"{DATA}/sets/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.parquet",
        log:
            f"{DATA}/logs/draw/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.log",
        priority: RACE_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            options=literal(flags("filter", sets="pool")),
            code=code("filter"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/filter.py --samples {input:q} --drop 0 --take {wildcards.n:q}'
            " --seed {wildcards.seed:q} {params.options:q} --output {output:q} &> {log:q}"

else:

    rule draw:
        """Filter block {wildcards.seed} of the generated samples of {wildcards.source}, of which {wildcards.n} are left."""
        input:
            samples=lambda wildcards: f"{DATA}/generated/{pool_of(wildcards)[0]}.parquet",
            scores=lambda wildcards: f"{DATA}/scores/generated/{pool_of(wildcards)[0]}.parquet",
        output:
            kept=f"{DATA}/sets/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.parquet",
            dropped=f"{DATA}/sets/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.dropped.parquet",
        log:
            f"{DATA}/logs/draw/{{source}}-p{{prefix}}-d{{drop}}-n{{n}}-s{{seed}}.log",
        priority: RACE_PRIORITY
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            options=literal(flags("filter", sets="blocks")),
            block=lambda wildcards: pool_of(wildcards)[1],
            code=code("filter"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/filter.py --samples {input.samples:q} --scores {input.scores:q}'
            " --drop {wildcards.drop:q} --take {wildcards.n:q} --seed {params.block:q} {params.options:q}"
            " --output {output.kept:q} &> {log:q}"
