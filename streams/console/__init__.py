"""The web console: incidents and decisions in a browser, over an index of the topics."""
