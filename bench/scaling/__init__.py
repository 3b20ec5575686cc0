"""What scale.py measures: a module for each thing that grows, each with `measure(context) -> Section`."""
