"""The vocabulary that checks and triage share: rules, findings, detections, hosts, knowledge."""
