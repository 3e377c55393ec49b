//! Writing what a child prints to somebody who may be slow.
