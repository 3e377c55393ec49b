//! The supervisor's end of a process tree.
