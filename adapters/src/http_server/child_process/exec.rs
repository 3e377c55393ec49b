//! The last step before the program: what only the new process itself can do.
