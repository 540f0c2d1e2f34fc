"""The checks: pure functions from an event, or the bytes it names, to detections."""
