//! The process between the supervisor and the tree.
