//! Who listens where.
