"""The smallest useful flow: it answers with how it was called and what it was sent."""

import flow_api


def handler(system: flow_api.System, this: flow_api.Execution):
    inputs = this.get("input_value")
    this.log("called by", inputs["method"])
    this.set_output("method", inputs["method"])
    this.set_output("received", inputs["json"])
    return this.success("all done")
