"""Greets who signs up."""

import flow_api


def handler(system: flow_api.System, this: flow_api.Execution):
    data = this.get("input_value")["json"] or {}
    name = data.get("name", "stranger")
    this.log(f"{name} signed up")
    this.set_output("greeting", f"Hello {name}")
    return this.success("all done")
