"""The pages of the console, one module each: its queries and its template."""
