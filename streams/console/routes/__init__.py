"""The pages of the console, one module each: what it reads, and the template that shows it."""
