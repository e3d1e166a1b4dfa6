//! The optional accelerator of `micro`: its classes have the names and interfaces of Python classes
//! there, which are their specification. `micro/_native.py` chooses between both.

use pyo3::prelude::*;

mod splitter;

#[pymodule]
mod natsmicro_native {
    use super::*;

    #[pymodule_export]
    use super::splitter::FrameSplitter;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
