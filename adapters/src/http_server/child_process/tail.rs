//! The last lines of output.
