//! One attempt at an answer.
