"""The version, alone in its file so that ``setup.py`` can read it without importing the package."""

__version__ = "1.0.0"
