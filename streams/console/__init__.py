"""The web console: what analysts read and decide in a browser, over an index of the topics."""
