"""What Wren does on this machine: a question a script. docs/benchmarks.md has the answers."""

import service  # noqa: F401 - before numpy, which then keeps to the threads that the server lets it have
