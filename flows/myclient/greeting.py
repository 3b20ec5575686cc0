"""Reads a setting: what may change without a change of the flow."""

import flow_api


def handler(system: flow_api.System, this: flow_api.Execution):
    greetings = system.setting("app.greetings").get("value")
    language = this.get("input_value")["query"].get("language", greetings["default"])
    if language not in greetings["texts"]:
        known = ", ".join(sorted(greetings["texts"]))
        return this.error(f"no greeting in {language}; there are: {known}")
    this.set_output("greeting", greetings["texts"][language])
    return this.success()
