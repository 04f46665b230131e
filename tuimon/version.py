"""The version of tuimon, read by the build, by `tuimon --version` and by the wire's hello."""

__version__ = "0.1.0"
