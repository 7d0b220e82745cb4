"""Measures queuectl beside other ways to run shell commands; `python -m benchmarks --help`."""
