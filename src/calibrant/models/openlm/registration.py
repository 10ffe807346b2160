"""Let transformers' auto classes find OpenLM after `import calibrant`, without importing transformers now.

transformers loads its auto classes lazily and has no entry point for other packages. So the module that
defines AutoConfig is watched for: as soon as it has been executed (at once, when it already has), the
configuration class is registered there. The model classes, which are slow to import, follow when a
configuration is made: before that, no auto class can be asked for them.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

AUTO_CONFIG = "transformers.models.auto.configuration_auto"


def register_config(auto_module: ModuleType) -> None:
    """Register OpenLM's configuration in transformers' `configuration_auto`."""
    from calibrant.models.openlm.configuration import OpenLMConfig

    auto_module.AutoConfig.register("openlm", OpenLMConfig, exist_ok=True)


def register_models() -> None:
    """Register OpenLM's model classes with AutoModel and AutoModelForCausalLM."""
    from transformers import AutoModel, AutoModelForCausalLM

    from calibrant.models.openlm.configuration import OpenLMConfig
    from calibrant.models.openlm.modeling import OpenLMForCausalLM, OpenLMModel

    AutoModel.register(OpenLMConfig, OpenLMModel, exist_ok=True)
    AutoModelForCausalLM.register(OpenLMConfig, OpenLMForCausalLM, exist_ok=True)


class _RegisteringLoader(Loader):
    """Another loader, followed by the registration."""

    def __init__(self, inner: Loader) -> None:
        self.inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        register_config(module)


class _AutoConfigFinder(MetaPathFinder):
    """Finds only `configuration_auto`, through the finders behind this one, and wraps its loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != AUTO_CONFIG or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # once is enough, and the search below must not come by here again
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


def install() -> None:
    """Register OpenLM with transformers: now if it is loaded, else as soon as it is. Idempotent and light."""
    if AUTO_CONFIG in sys.modules:
        register_config(sys.modules[AUTO_CONFIG])
    elif not any(isinstance(finder, _AutoConfigFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AutoConfigFinder())
