//! Safe wrappers over the socket calls.
