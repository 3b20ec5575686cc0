"""Receives GitHub's push event and tells which branch got which commits."""

import flow_api


def handler(system: flow_api.System, this: flow_api.Execution):
    inputs = this.get("input_value")
    event = inputs["headers"].get("X-GitHub-Event")  # look-ups ignore case
    if event == "ping":
        return this.success("pong")
    if event != "push":
        return this.error(f"this webhook takes push events, not {event}")

    push = inputs["json"]
    branch = push["ref"].removeprefix("refs/heads/")
    commits = [commit["message"].splitlines()[0] for commit in push["commits"]]
    for title in commits:
        this.log(title, branch=branch)
    this.set_output(
        repository=push["repository"]["full_name"],
        branch=branch,
        commits=commits,
    )
    return this.success(f"{len(commits)} commits on {branch}")
