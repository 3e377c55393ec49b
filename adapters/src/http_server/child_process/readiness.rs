//! When a child may be published.
