"""Whether one can attach, and where a process is that no longer moves."""
