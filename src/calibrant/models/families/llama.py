"""Llama (Touvron et al., 2023; Llama 2 and 3, SmolLM, TinyLlama, Yi and others under its name)."""

from calibrant.models.families.family import Family

LLAMA = Family("llama", "LlamaModel")
