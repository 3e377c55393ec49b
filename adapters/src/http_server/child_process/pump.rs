//! Reading what a child prints.
