"""Python source and bytecode, judged without running any of it."""
