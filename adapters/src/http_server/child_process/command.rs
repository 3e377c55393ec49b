//! What a child is given: its arguments and its environment.
