"""Pickles: the opcode machine, what its imports may do, and the streams of a file."""
