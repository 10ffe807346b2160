"""Let transformers' auto classes find OpenLM after `import calibrant`, without importing transformers now.

transformers loads its auto classes lazily, and has no entry point for other packages. So the two modules
that define the auto classes are watched for: as soon as one has been executed (at once, when it already
has), the classes are registered there.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

AUTO_CONFIG = "transformers.models.auto.configuration_auto"
AUTO_MODEL = "transformers.models.auto.modeling_auto"
_searching: set[str] = set()


def _register(name: str, module: ModuleType) -> None:
    """Register OpenLM in the auto module `name`, which has just been executed."""
    from calibrant.models.openlm.configuration import OpenLMConfig

    if name == AUTO_CONFIG:
        module.AutoConfig.register("openlm", OpenLMConfig, exist_ok=True)
    else:
        from calibrant.models.openlm.modeling import OpenLMForCausalLM, OpenLMModel

        module.AutoModel.register(OpenLMConfig, OpenLMModel, exist_ok=True)
        module.AutoModelForCausalLM.register(OpenLMConfig, OpenLMForCausalLM, exist_ok=True)


class _RegisteringLoader(Loader):
    """Another loader, followed by the registration."""

    def __init__(self, inner: Loader) -> None:
        self.inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        _register(module.__name__, module)


class _AutoModuleFinder(MetaPathFinder):
    """Finds only the two auto modules, through the finders behind it, and wraps their loaders."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in (AUTO_CONFIG, AUTO_MODEL) or name in _searching:
            return None
        _searching.add(name)  # the search below comes by here again
        try:
            spec = importlib.util.find_spec(name)
        finally:
            _searching.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


def install() -> None:
    """Register OpenLM with transformers: now where it is loaded, else as soon as it is. Idempotent and light."""
    for name in (AUTO_CONFIG, AUTO_MODEL):
        if name in sys.modules:
            _register(name, sys.modules[name])
    if not any(isinstance(finder, _AutoModuleFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AutoModuleFinder())
