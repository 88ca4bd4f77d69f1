"""What Wren does on this machine: a question a script. docs/benchmarks.md has the answers."""
