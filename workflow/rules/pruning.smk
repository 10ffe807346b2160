# Stage prune: one mask a job.


rule prune:
    """Prune with {wildcards.method} to {wildcards.sparsity}, calibrated on {wildcards.calibration}."""
    input:
        calibration=f"{DATA}/sets/{{calibration}}.parquet",
        model=f"{DATA}/model",
    output:
        f"{DATA}/masks/{{calibration}}/{{method}}-{{sparsity}}.safetensors",
    log:
        f"{DATA}/logs/prune/{{calibration}}/{{method}}-{{sparsity}}.log",
    benchmark:
        f"{DATA}/benchmarks/prune/{{calibration}}/{{method}}-{{sparsity}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    params:
        sparsity=sparsity,
        options=pruning_options,
        compute=compute_options(),
        code=code("prune"),
        versions=TORCH,
    shell:
        "python workflow/scripts/prune.py --model {input.model:q} --calibration {input.calibration:q}"
        " --method {wildcards.method} --sparsity {params.sparsity} {params.options} {params.compute}"
        " --threads {threads} --output {output:q} &> {log:q}"


rule prune_without_data:
    """Prune by magnitude to {wildcards.sparsity}."""
    input:
        model=f"{DATA}/model",
    output:
        f"{DATA}/masks/none/magnitude-{{sparsity}}.safetensors",
    log:
        f"{DATA}/logs/prune/none/magnitude-{{sparsity}}.log",
    benchmark:
        f"{DATA}/benchmarks/prune/none/magnitude-{{sparsity}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    threads: config["compute"]["threads"]
    params:
        sparsity=sparsity,
        compute=compute_options(),
        code=code("prune"),
        versions=TORCH,
    shell:
        "python workflow/scripts/prune.py --model {input.model:q} --method magnitude --sparsity {params.sparsity}"
        " {params.compute} --threads {threads} --output {output:q} &> {log:q}"
