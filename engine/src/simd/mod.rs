//! Bytes at speed.
