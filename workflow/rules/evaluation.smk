# Stage evaluate: one model, dense or pruned, on all tasks and texts of the study.


rule evaluate:
    """Evaluate {wildcards.method} at {wildcards.level} on {wildcards.calibration}."""
    input:
        masks=f"{DATA}/masks/{{calibration}}/{{method}}-{{level}}.safetensors",
        weights=updated_weights,
        model=f"{DATA}/model",
        dense=DENSE_OUTPUTS,
        number_format=number_format(),
        texts=list(evaluated_texts().values()),
        tasks=all_task_files(),
    output:
        results=f"{DATA}/evaluations/{{calibration}}/{{method}}-{{level}}.json",
        provenance=f"{DATA}/evaluations/{{calibration}}/{{method}}-{{level}}.provenance.json",
        measures=measured(f"{DATA}/evaluations/{{calibration}}/{{method}}-{{level}}"),
    log:
        f"{DATA}/logs/evaluate/{{calibration}}/{{method}}-{{level}}.log",
    benchmark:
        f"{DATA}/benchmarks/evaluate/{{calibration}}/{{method}}-{{level}}.jsonl"
    wildcard_constraints:
        calibration=f"none|{SET_NAME}",
    priority: RACE_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("evaluate", "mem_mb"),
        runtime=request_of("evaluate", "runtime"),
    params:
        options=literal(evaluation_options()),
        dense=lambda wildcards, input: option("dense", input.dense),
        files=evaluated_files,
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("evaluate"),
        versions=f"{TORCH}, {installed_versions('lm_eval')}",
    shell:
        'python "$CALIBRANT_SCRIPTS"/evaluate.py --model {input.model:q} --masks {input.masks:q}'
        " {params.dense:q} {params.options:q} {params.files:q} {params.compute:q} {params.resolved:q} --threads {threads:q} --output {output.results:q} &> {log:q}"


rule evaluate_dense:
    """Evaluate the model as it is."""
    input:
        model=f"{DATA}/model",
        number_format=number_format(),
        texts=list(evaluated_texts().values()),
        tasks=all_task_files(),
    output:
        results=f"{DATA}/evaluations/none/dense-0.json",
        provenance=f"{DATA}/evaluations/none/dense-0.provenance.json",
        measures=measured(f"{DATA}/evaluations/none/dense-0"),
        dense=DENSE_OUTPUTS,
    log:
        f"{DATA}/logs/evaluate/none/dense-0.log",
    benchmark:
        f"{DATA}/benchmarks/evaluate/none/dense-0.jsonl"
    priority: RACE_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    resources:
        **GPU,
        mem_mb=request_of("evaluate", "mem_mb"),
        runtime=request_of("evaluate", "runtime"),
    params:
        options=literal(evaluation_options()),
        dense=lambda wildcards, output: option("outputs", output.dense),
        files=evaluated_files,
        compute=literal(compute_options()),
        resolved=resolved,
        code=code("evaluate"),
        versions=f"{TORCH}, {installed_versions('lm_eval')}",
    shell:
        'python "$CALIBRANT_SCRIPTS"/evaluate.py --model {input.model:q} {params.dense:q} {params.options:q} {params.files:q} {params.compute:q} {params.resolved:q}'
        " --threads {threads:q} --output {output.results:q} &> {log:q}"
