# Stage download: documents, model and task rows, each with its provenance. The only rules that use a network.


rule download_model:
    """Fetch the model; a quantised archive is turned into an ordinary checkpoint once."""
    input:
        own_files(config["model"]),
    output:
        directory(f"{DATA}/model"),
    log:
        f"{DATA}/logs/download/model.log",
    benchmark:
        f"{DATA}/benchmarks/download/model.jsonl"
    priority: FIRST_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    params:
        spec=literal(spec(model=config["model"])),
        output=study_folder,
        code=code("download"),
        versions=installed_versions("torch", "transformers", "gguf"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/download.py {params.spec:q} --output {params.output:q} --only model &> {log:q}'


rule number_format:
    """Resolve the number format auto, once for the whole study and on the machine where it begins."""
    input:
        f"{DATA}/model",
    output:
        PATHS.number_format(),
    log:
        f"{DATA}/logs/download/number-format.log",
    priority: FIRST_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    params:
        device=config["compute"]["device"],
        code=CODE.digest("calibrant.models.checkpoint.resolution"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/number_format.py --model {input:q} --device {params.device:q} --output {output:q} 2>&1'
        " | tee {log:q} >&2"


rule download_source:
    """Fetch, clean and deduplicate the documents of source {wildcards.source}."""
    input:
        lambda wildcards: own_files(config["sources"][wildcards.source]),
    output:
        documents=f"{DATA}/sources/{{source}}/documents.parquet",
        heldout=f"{DATA}/sources/{{source}}/heldout.parquet",
        provenance=f"{DATA}/sources/{{source}}/provenance.json",
    log:
        f"{DATA}/logs/download/source-{{source}}.log",
    benchmark:
        f"{DATA}/benchmarks/download/source-{{source}}.jsonl"
    priority: FIRST_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    params:
        spec=lambda wildcards: spec(sources={wildcards.source: config["sources"][wildcards.source]}),
        output=study_folder,
        script=lambda wildcards: "race_source.py" if races_alone(wildcards.source) else "download.py",
        code=code("download"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/{params.script:q} {params.spec:q} --output {params.output:q}'
        " --only source:{wildcards.source:q} &> {log:q}"


rule download_text:
    """Fetch the text {wildcards.text}, on which perplexity is measured."""
    input:
        lambda wildcards: own_files(config["texts"][wildcards.text]),
    output:
        documents=f"{DATA}/texts/{{text}}/documents.parquet",
        provenance=f"{DATA}/texts/{{text}}/provenance.json",
    log:
        f"{DATA}/logs/download/text-{{text}}.log",
    benchmark:
        f"{DATA}/benchmarks/download/text-{{text}}.jsonl"
    priority: FIRST_PRIORITY
    conda:
        "../../envs/cpu.yaml"
    params:
        spec=lambda wildcards: spec(texts={wildcards.text: config["texts"][wildcards.text]}),
        output=study_folder,
        code=code("download"),
    shell:
        'python "$CALIBRANT_SCRIPTS"/download.py {params.spec:q} --output {params.output:q}'
        " --only text:{wildcards.text:q} &> {log:q}"


for name in config["tasks"]:
    if task_kind(name) == "late":
        continue

    rule:
        name:
            f"download_task_{name}"
        input:
            (
                f"{DATA}/sources/{config['tasks'][name]['source']}/heldout.parquet"
                if task_kind(name) == "built"
                else own_files(config["tasks"][name])
            ),
        output:
            task_files(name),
        log:
            f"{DATA}/logs/download/task-{name}.log",
        benchmark:
            f"{DATA}/benchmarks/download/task-{name}.jsonl"
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            spec=literal(spec(tasks={name: config["tasks"][name]})),
            output=study_folder,
            task=name,
            code=code("download"),
        shell:
            'python "$CALIBRANT_SCRIPTS"/download.py {params.spec:q} --output {params.output:q}'
            " --only task:{params.task:q} &> {log:q}"
