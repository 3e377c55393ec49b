//! A log of bounded size.
