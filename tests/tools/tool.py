"""Load a program of tools/, which has no .py ending, as a module."""
import importlib.machinery
import importlib.util
import os
import sys

sys.dont_write_bytecode = True
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools')


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace('-', '_'), os.path.join(FOLDER, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module
