# workerd: one worker on one socket; bench/peers.py writes KEY's value into its own copy and overrides the address.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .hook)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const hook :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2025-01-01",
  bindings = [(name = "KEY", text = "@KEY@")],
);
