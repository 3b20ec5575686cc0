"""What both sides of the sandbox's wall know: frames, strict JSON, payloads, timestamps. Nothing here does I/O."""
