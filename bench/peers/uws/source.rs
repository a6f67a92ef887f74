//! Nothing: this package exists for its one dependency, of which `build` takes the C++ source.
