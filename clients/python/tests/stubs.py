"""Modules that code under test imports from its own project, in as few words as it needs."""
import sys
import types


def stub(name, **content):
    """Makes `import NAME` find a module with this content."""
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(content)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def package(name, path):
    """Makes `import NAME.x` find modules in a directory, without the package's own beginning."""
    return stub(name, __path__=[path])
