//! A pseudo-terminal.
