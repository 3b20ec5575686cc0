"""An async job: it sleeps between its steps, which costs nothing, and logs what it does."""

import flow_api


def handler(system: flow_api.System, this: flow_api.Execution):
    steps = int(this.get("input_value")["query"].get("steps", 3))
    for step in range(steps):
        this.log(f"step {step + 1} of {steps}")
        this.sleep(0.5)
    this.set_output("steps", steps)
    return this.success("the report is ready")
