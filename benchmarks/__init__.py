"""Side-by-side measurements of raftkv and its neighbours on one machine: ``python -m benchmarks``.

The parts, in the order of a run: ``runner`` decides what is measured when; ``peers`` starts and stops the
servers; ``loadgen`` builds and runs the generator (``loadgen.c``); ``failover`` and ``footprint`` measure
what a generator cannot; ``samples`` holds the raw numbers and their medians; ``targets`` judges them;
``report`` and ``plot`` show them.
"""
