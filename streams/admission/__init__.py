"""The admission webhook of Kubernetes: what a cluster runs is what was assessed."""
