//! Processes of a supervisor that is dead.
