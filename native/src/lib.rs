//! The optional accelerator of `micro`: its classes have the names and interfaces of Python classes
//! there, which are their specification. `micro/_native.py` chooses between both.

use pyo3::prelude::*;

mod answer;
mod headers;
mod known;
mod outbox;
mod request;
mod requester;
mod response;
mod series;
mod splitter;
mod tally;

#[pymodule]
mod natsmicro_native {
    use super::*;

    #[pymodule_export]
    use super::headers::decode_headers;
    #[pymodule_export]
    use super::outbox::Outbox;
    #[pymodule_export]
    use super::request::{NatsRequest, requests_of};
    #[pymodule_export]
    use super::requester::{Requester, msg};
    #[pymodule_export]
    use super::response::Response;
    #[pymodule_export]
    use super::series::Series;
    #[pymodule_export]
    use super::splitter::FrameSplitter;
    #[pymodule_export]
    use super::tally::Tally;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
